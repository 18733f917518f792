//! The queue of one session.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;

use weir::config::Overflow;
use weir::message::{Routed, Run};
use weir::session::{Item, Session};

use super::ROUND;
use crate::counter::counted;
use crate::material::{TOPIC, copies, message, session};

/// Messages that go together are put into a session's queue and taken out.
pub fn run() -> Box<dyn FnMut()> {
    let reader = session("reader");
    let mut loads = VecDeque::new();
    Box::new(move || {
        let run = Arc::new(Run::of(&routed()).expect("messages that go together"));
        assert_eq!(run.messages().len(), ROUND);
        counted(|| {
            assert!(black_box(reader.outbound.push_run(&run, Overflow::Disconnect)), "the queue was empty");
            while reader.outbound.try_take_loads(&mut loads) {}
            assert_eq!(black_box(&loads).len(), 1);
            loads.clear();
        });
    })
}

/// Messages are put into a session's queue one by one, and taken out together.
pub fn alone() -> Box<dyn FnMut()> {
    let reader = session("reader");
    let mut loads = VecDeque::new();
    Box::new(move || {
        let routed = routed();
        counted(|| {
            for routed in &routed {
                black_box(reader.outbound.push_message(routed, Overflow::Disconnect));
            }
            while reader.outbound.try_take_loads(&mut loads) {}
            assert_eq!(black_box(&loads).len(), ROUND);
            loads.clear();
        });
    })
}

fn routed() -> Vec<Arc<Routed>> {
    let message = message(&session("publisher"), TOPIC);
    copies(&message, ROUND).into_iter().map(|message| Arc::new(Routed::new(message, None))).collect()
}

/// Takes all that waits for these sessions; how many messages it was.
pub fn empty(readers: &[Arc<Session>]) -> usize {
    let mut items = VecDeque::new();
    let mut count = 0;
    for reader in readers {
        while reader.outbound.try_take(&mut items) {
            count += items.drain(..).filter(|item| matches!(item, Item::Message(_))).count();
        }
    }
    count
}
