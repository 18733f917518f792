//! From the sequencer to the queues of log and sessions.

use std::hint::black_box;
use std::sync::Arc;

use tempfile::TempDir;
use weir::message::{Message, Routed};
use weir::metrics::Metrics;
use weir::received::Received;
use weir::retained::{Most, Retained};
use weir::router::{Readers, Router};
use weir::sequencer::Sequencer;
use weir::session::{Session, Subscription};
use weir_contract::topic::Pattern;

use super::{ROUND, queue};
use crate::counter::counted;
use crate::material::{TOPIC, copies, message, session, sessions, store};

/// Sites in the index of patterns: each has 100 patterns of 100 sessions, one of which matches everything of the site
/// and one the same sensor of all of its rooms.
const SITES: usize = 100;

/// A message is put into the queue of the log's writer.
pub fn log_queue() -> Box<dyn FnMut()> {
    let (home, store) = store();
    let message = message(&session("publisher"), TOPIC);
    Box::new(move || {
        // The folder lives as long as the store.
        let _ = &home;
        let messages = copies(&message, ROUND);
        counted(|| {
            for message in messages {
                let put = store.writer().submit(|queue| queue.record(0, queue.next_offset(0), message));
                black_box(put).expect("room in the queue");
            }
        });
    })
}

/// Messages that come together get their offsets and go to the log's queue and to the queues of so many sessions, whose
/// writers are woken.
pub fn accept_together(readers: usize) -> Box<dyn FnMut()> {
    let (home, sequencer, readers) = routed_to(readers);
    let message = message(&session("publisher"), TOPIC);
    let mut woken = Vec::new();
    Box::new(move || {
        let _ = &home;
        let mut messages = copies(&message, ROUND);
        counted(|| {
            let accepted = sequencer.accept_plain(&mut messages, &mut woken).expect("accepted");
            woken.drain(..).for_each(|session: Arc<Session>| session.outbound.wake());
            assert_eq!(black_box(accepted).len(), ROUND);
        });
        assert_eq!(queue::empty(&readers), readers.len() * ROUND, "every reader has every message");
    })
}

/// The same for messages that come one by one, to one reader.
pub fn accept_alone() -> Box<dyn FnMut()> {
    let (home, sequencer, readers) = routed_to(1);
    let message = message(&session("publisher"), TOPIC);
    Box::new(move || {
        let _ = &home;
        let messages = copies(&message, ROUND);
        counted(|| {
            for message in messages {
                let accepted = sequencer.accept(vec![message], Vec::new(), None).expect("accepted");
                assert_eq!(black_box(accepted).len(), 1);
            }
        });
        assert_eq!(queue::empty(&readers), ROUND, "the reader has every message");
    })
}

/// A sequencer with one log, and so many sessions that read [`TOPIC`].
fn routed_to(readers: usize) -> (TempDir, Sequencer, Vec<Arc<Session>>) {
    let (home, store) = store();
    let metrics = Metrics::new();
    let retained = Retained::load(store.clone(), Most::ALL, metrics.retained.clone()).expect("retained");
    let (received, _) = Received::open(store.clone()).expect("received");
    let router = Arc::new(Router::default());
    let topics = vec![vec![pattern("#")]];
    let log = |name: &str| metrics.log(name);
    let sequencer = Sequencer::new(store, Arc::clone(&router), retained, received, topics, log);
    let readers = sessions(readers);
    for reader in &readers {
        subscribe(&router, reader, TOPIC);
    }
    (home, sequencer, readers)
}

/// A topic that nobody asked for before finds its three readers among 10,000 patterns.
pub fn matching() -> Box<dyn FnMut()> {
    let router = Router::default();
    let holders = sessions(100);
    for site in 0..SITES {
        for (number, holder) in holders.iter().enumerate() {
            let pattern = match number {
                0 => format!("site-{site}/#"),
                1 => format!("site-{site}/+/temperature"),
                _ => format!("site-{site}/room-{number}/temperature"),
            };
            subscribe(&router, holder, &pattern);
        }
    }
    let publisher = session("publisher");
    let topic = |at: usize| format!("site-{}/room-{}/temperature", at % SITES, at + 2);
    let routed: Vec<_> = (0..ROUND).map(|at| routed(message(&publisher, &topic(at)))).collect();
    Box::new(move || {
        counted(|| {
            for routed in &routed {
                assert_eq!(black_box(router.dispatch(&mut Readers::default(), routed, None)), 3);
            }
        });
        queue::empty(&holders);
    })
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect("a pattern")
}

fn subscribe(router: &Router, session: &Arc<Session>, text: &str) {
    assert!(router.subscribe(session, &Subscription::new(pattern(text), 1, &[(0, 0)], false), None));
}

fn routed(message: Message) -> Arc<Routed> {
    Arc::new(Routed::new(message, None))
}
