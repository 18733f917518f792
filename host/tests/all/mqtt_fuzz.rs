//! Nonsense over MQTT, for a few seconds; the campaign `garble` says it for a minute.

use crate::harness::garble::{begin, garble, is_sound};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_ends_its_connection_and_nothing_else() {
    let (_setup, child) = begin().await;
    garble(&child, 1, 400).await;
    is_sound(&child).await;
}
