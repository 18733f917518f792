//! From the door to what is asked before the sequencer.

use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use weir::config::Limits;
use weir::ingress::{self, Publish, Rate};
use weir::pipeline::{Became, Pass, Stages, process};

use super::ROUND;
use crate::counter::counted;
use crate::material::{PAYLOAD, RECEIVED_US, TOPIC, message, session};

/// Longest pass: nothing here may time out, however slow the counting is.
const DEADLINE: Duration = Duration::from_secs(3_600);
/// Under which chain and accounts permissions are remembered: any, as long as it stays.
const AUTHORITY: (u64, u64) = (1, 0);

/// A publish is checked, counted against the rate and stamped.
pub fn admit() -> Box<dyn FnMut()> {
    let session = session("publisher");
    let limits = Limits::default();
    // A limit that is never met, but counted.
    let rate = Rate::new(1_000_000_000);
    Box::new(move || {
        let publishes: Vec<_> = (0..ROUND).map(|_| publish()).collect();
        counted(|| {
            for publish in publishes {
                drop(black_box(
                    ingress::admit(&session, publish, &limits, &rate, RECEIVED_US).expect("admitted"),
                ));
            }
        });
    })
}

fn publish() -> Publish {
    let mut publish = Publish::new(TOPIC, PAYLOAD);
    publish.content_type = Some("application/json".into());
    publish
}

/// A message passes a chain without plugins; that its session may publish there is remembered.
pub fn pass() -> Box<dyn FnMut()> {
    let session = session("publisher");
    session.remember_publish(AUTHORITY, TOPIC, true);
    let mut stages = Stages::default();
    let message = message(&session, TOPIC);
    Box::new(move || {
        counted(|| {
            for _ in 0..ROUND {
                let began = Instant::now();
                let pass = Pass {
                    session: &session,
                    authority: AUTHORITY,
                    most_messages: 64,
                    deadline: began + DEADLINE,
                    clock: Cell::new(began),
                    recorder: None,
                };
                let became = process(&mut stages, &pass, &message).expect("passes");
                assert!(matches!(black_box(became), Became::Itself));
            }
        });
    })
}
