//! Against a reader who sees all that happens: of each topic first what was retained, then what is newer, once.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;
use weir_contract::packed::{put, tag};

use super::*;
use crate::message::{Mark, Message, Place};
use crate::metrics::Metrics;
use crate::retained::Most;
use crate::session::{Item, OutboundLimits, Subscription};
use crate::store::{Store, StoreOptions};

fn message(topic: &str, n: u64, retain: bool) -> Message {
    let mut meta = Vec::new();
    if retain {
        put(&mut meta, tag::RETAIN, &[1]);
    } else {
        meta.push(1);
    }
    Message { topic: topic.into(), meta: meta.into(), payload: Bytes::from(n.to_string()) }
}

/// What happens while the retained messages are on their way.
#[derive(Clone, Debug)]
enum Step {
    /// To this topic, retained or not.
    Publish(usize, bool),
    /// Some of the retained messages go out.
    Turn,
    /// The writer takes what waits.
    Take,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..TOPICS, any::<bool>()).prop_map(|(topic, retain)| Step::Publish(topic, retain)),
        Just(Step::Turn),
        Just(Step::Take),
    ];
    prop::collection::vec(step, 0..60)
}

const TOPICS: usize = 8;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn each_topic_s_retained_message_comes_once_and_before_what_is_newer(
        before in prop::collection::vec(any::<bool>(), TOPICS),
        logged in any::<bool>(),
        steps in steps(),
    ) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), StoreOptions::default()).unwrap();
        let retained = Retained::load(store, Most::ALL, Metrics::new().retained).unwrap();
        let place = |offset: u64| Place { log: "default".into(), epoch: 1, offset };
        // Counts offsets and payloads alike.
        let mut n = 0;
        let mut expected: BTreeMap<String, Vec<(u64, bool)>> = BTreeMap::new();
        for (topic, _) in before.iter().enumerate().filter(|(_, there)| **there) {
            let at = place(n);
            retained.put(&message(&format!("t/{topic}"), n, true), logged.then_some((0, &at)));
            expected.entry(format!("t/{topic}")).or_default().push((n, true));
            n += 1;
        }
        let pattern = Pattern::parse("t/#").unwrap();
        let subscription = Subscription::new(pattern, 1, &[(0, n)], false);
        prop_assert!(subscription.begin_retained(&retained, &[(0, n)]));
        let outbound = Outbound::new(OutboundLimits { messages: 16, bytes: 1 << 20 });
        let (mut got, mut items): (BTreeMap<String, Vec<(u64, bool)>>, _) = Default::default();
        let mut take = |items: &mut VecDeque<Item>| {
            while outbound.try_take(items) {}
            for item in items.drain(..) {
                let Item::Message(routed) = item else { panic!("{item:?}") };
                let n = std::str::from_utf8(&routed.message.payload).unwrap().parse().unwrap();
                let of = got.entry(routed.message.topic.to_string()).or_default();
                of.push((n, routed.mark == Mark::Retained));
            }
        };
        for step in steps {
            match step {
                Step::Publish(topic, retain) => {
                    // Else this queue would overflow, which is no matter of retained messages.
                    take(&mut items);
                    let (message, at) = (message(&format!("t/{topic}"), n, retain), place(n));
                    let routed = Arc::new(Routed::new(message.clone(), logged.then(|| at.clone())));
                    subscription.send_before(&routed, &outbound, Overflow::Disconnect);
                    prop_assert_eq!(outbound.push_message(&routed, Overflow::Disconnect), Pushed::Queued);
                    if retain {
                        retained.put(&message, logged.then_some((0, &at)));
                    }
                    expected.entry(message.topic.to_string()).or_default().push((n, false));
                    n += 1;
                }
                Step::Turn => drop(subscription.send_retained(&outbound)),
                Step::Take => take(&mut items),
            }
        }
        while subscription.send_retained(&outbound) != Sent::All {
            take(&mut items);
        }
        take(&mut items);
        prop_assert!(!subscription.is_sending());
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn a_subscription_that_is_given_up_sends_nothing_more() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), StoreOptions::default()).unwrap();
    let retained = Retained::load(store, Most::ALL, Metrics::new().retained).unwrap();
    retained.put(&message("a", 0, true), None);
    let outbound = Outbound::new(OutboundLimits { messages: 16, bytes: 1 << 20 });
    let one = Subscription::new(Pattern::parse("a").unwrap(), 1, &[], false);
    assert!(one.begin_retained(&retained, &[]));
    one.end();
    assert_eq!(one.send_retained(&outbound), Sent::All);
    assert!(!one.begin_retained(&retained, &[]), "it does not come back");
    assert!(one.ended().is_some_and(tokio_util::sync::CancellationToken::is_cancelled));
    assert!(!outbound.try_take(&mut VecDeque::new()));
}
