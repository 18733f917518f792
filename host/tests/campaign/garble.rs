//! A minute of nonsense over MQTT: no panic, no connection that does not end, no memory that is not given back.

use std::time::{Duration, Instant};

use crate::harness::garble::{begin, garble, is_sound};
use crate::{rounds, seed};

/// Connections between two looks at the clock.
const BATCH: u64 = 800;
/// Bytes by which the router may have grown since it was warm: caches of the store, and what the allocator keeps.
const GROWTH: u64 = 64 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_over_mqtt_does_no_harm() {
    let Some(seconds) = rounds(60) else { return };
    let mut from = seed();
    let (_setup, child) = begin().await;
    let mut go_on = async || {
        garble(&child, from, BATCH).await;
        from = from.wrapping_add(BATCH);
    };
    go_on().await;
    go_on().await;
    let warm = child.resident();
    let until = Instant::now() + Duration::from_secs(seconds.into());
    while Instant::now() < until {
        go_on().await;
    }
    is_sound(&child).await;
    let grown = child.resident().saturating_sub(warm);
    assert!(grown < GROWTH, "{grown} bytes more than when it was warm ({warm})");
}
