//! A trie over topic levels: finding the readers of a topic costs its levels, not the subscriptions.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Reader, SubscriptionInfo};
use crate::session::{Session, Subscription};

/// The root is the level before the first.
#[derive(Default)]
pub struct Index {
    root: Node,
}

type Holders = HashMap<Arc<str>, (Arc<Session>, Arc<Subscription>)>;

#[derive(Default)]
struct Node {
    literal: HashMap<Box<str>, Node>,
    plus: Option<Box<Node>>,
    /// Sessions whose pattern goes on with `#` from here: this level and all below it.
    hash: Holders,
    /// Sessions whose pattern ends here.
    here: Holders,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.plus.is_none() && self.hash.is_empty() && self.here.is_empty()
    }
}

impl Index {
    /// Adds a session's subscription, in place of one of the same pattern.
    pub fn insert(&mut self, session: &Arc<Session>, subscription: &Arc<Subscription>) {
        let holder = (Arc::clone(session), Arc::clone(subscription));
        let mut node = &mut self.root;
        for level in subscription.pattern().as_str().split('/') {
            node = match level {
                "#" => {
                    node.hash.insert(Arc::clone(&session.id), holder);
                    return;
                }
                "+" => node.plus.get_or_insert_default(),
                literal => node.literal.entry(literal.into()).or_default(),
            };
        }
        node.here.insert(Arc::clone(&session.id), holder);
    }

    /// Removes a session's pattern and the nodes that nobody needs any more.
    pub fn remove(&mut self, pattern: &str, session: &str) {
        remove(&mut self.root, &mut pattern.split('/'), session);
    }

    /// Sessions with a matching pattern, each once.
    pub fn matching(&self, topic: &str) -> Vec<Reader> {
        let mut found = Vec::new();
        let levels: Vec<&str> = topic.split('/').collect();
        // A leading wildcard never matches the router's own topics (MQTT 4.7.2).
        let reserved = topic.starts_with('$');
        collect(&self.root, &levels, reserved, &mut found);
        found.sort_unstable_by(|(a, _), (b, _)| a.id.cmp(&b.id));
        let of_session = |held: &[(&Arc<Session>, &Arc<Subscription>)]| {
            let (session, _) = held.first()?;
            let live = held.iter().any(|(_, subscription)| subscription.is_live());
            let replays = if live { &[] } else { held };
            let replays = replays.iter().map(|(_, replay)| Arc::clone(replay)).collect();
            let sending = held.iter().filter(|(_, subscription)| subscription.is_sending());
            let retained = sending.map(|(_, subscription)| Arc::clone(subscription)).collect();
            Some(Reader { session: Arc::clone(session), replays, retained })
        };
        found.chunk_by(|(a, _), (b, _)| a.id == b.id).filter_map(of_session).collect()
    }

    /// All patterns with their number of sessions.
    pub fn list(&self) -> Vec<SubscriptionInfo> {
        let mut found = Vec::new();
        list(&self.root, "", true, &mut found);
        found.sort_by(|a, b| a.pattern.cmp(&b.pattern));
        found
    }
}

fn remove<'a>(node: &mut Node, levels: &mut impl Iterator<Item = &'a str>, session: &str) {
    match levels.next() {
        None => {
            node.here.remove(session);
        }
        Some("#") => {
            node.hash.remove(session);
        }
        Some("+") => {
            if let Some(next) = &mut node.plus {
                remove(next, levels, session);
                if next.is_empty() {
                    node.plus = None;
                }
            }
        }
        Some(literal) => {
            if let Some(next) = node.literal.get_mut(literal) {
                remove(next, levels, session);
                if next.is_empty() {
                    node.literal.remove(literal);
                }
            }
        }
    }
}

fn collect<'a>(
    node: &'a Node,
    levels: &[&str],
    wildcards_barred: bool,
    found: &mut Vec<(&'a Arc<Session>, &'a Arc<Subscription>)>,
) {
    if !wildcards_barred {
        found.extend(node.hash.values().map(|(session, held)| (session, held)));
    }
    let Some((level, rest)) = levels.split_first() else {
        found.extend(node.here.values().map(|(session, held)| (session, held)));
        return;
    };
    if let Some(next) = node.literal.get(*level) {
        collect(next, rest, false, found);
    }
    if let Some(next) = &node.plus
        && !wildcards_barred
    {
        collect(next, rest, false, found);
    }
}

fn list(node: &Node, path: &str, first: bool, found: &mut Vec<SubscriptionInfo>) {
    let join = |level: &str| if first { level.to_owned() } else { format!("{path}/{level}") };
    if !node.hash.is_empty() {
        found.push(SubscriptionInfo { pattern: join("#").into(), sessions: node.hash.len() });
    }
    if !node.here.is_empty() {
        found.push(SubscriptionInfo { pattern: path.into(), sessions: node.here.len() });
    }
    for (level, next) in &node.literal {
        list(next, &join(level), false, found);
    }
    if let Some(next) = &node.plus {
        list(next, &join("+"), false, found);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_contract::topic::Pattern;

    use super::*;
    use crate::message::{Grant, Principal};
    use crate::session::OutboundLimits;

    fn session(id: &str) -> Arc<Session> {
        let grant =
            Grant { tenant: "main".into(), name: "n".into(), origin: "page".into(), ..Grant::default() };
        let principal = Principal::new(grant, "open".into(), "http", id).unwrap();
        let limits = OutboundLimits { messages: 1, bytes: 1 };
        Arc::new(Session::new(id.into(), principal, "http", String::new(), limits, None))
    }

    fn subscription(pattern: &str) -> Arc<Subscription> {
        Subscription::new(Pattern::parse(pattern).unwrap(), 1, &[(0, 0)], false)
    }

    fn patterns() -> impl Strategy<Value = String> {
        prop::collection::vec(prop_oneof!["[ab]?", Just("+".into()), Just("$s".into())], 1..4)
            .prop_flat_map(|levels| {
                let whole = levels.join("/");
                prop_oneof![Just(whole.clone()), Just(format!("{whole}/#")), Just("#".to_owned())]
            })
            .prop_filter("valid", |text| Pattern::parse(text).is_ok())
    }

    proptest! {
        #[test]
        fn finds_what_a_naive_matcher_finds(
            held in prop::collection::vec(patterns(), 0..12),
            removed in prop::collection::vec(any::<bool>(), 12),
            topic in "([ab]?|\\$s)(/([ab]?|\\$s)){0,3}",
        ) {
            let mut index = Index::default();
            let all: Vec<_> = held.iter().enumerate().map(|(n, p)| (p, session(&format!("s{n:02}")))).collect();
            for (pattern, session) in &all {
                index.insert(session, &subscription(pattern));
            }
            for ((pattern, session), _) in all.iter().zip(&removed).filter(|(_, gone)| **gone) {
                index.remove(pattern, &session.id);
            }
            let expected: Vec<_> = all.iter().zip(&removed)
                .filter(|((pattern, _), gone)| !**gone && Pattern::parse(pattern).unwrap().matches(&topic))
                .map(|((_, session), _)| session.id.clone())
                .collect();
            let found: Vec<_> = index.matching(&topic).iter().map(|reader| reader.session.id.clone()).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn nothing_is_left_when_all_are_gone(held in prop::collection::vec(patterns(), 0..12)) {
            let mut index = Index::default();
            let one = session("s");
            for pattern in &held {
                index.insert(&one, &subscription(pattern));
            }
            for pattern in &held {
                index.remove(pattern, "s");
            }
            prop_assert!(index.root.is_empty());
            prop_assert!(index.list().is_empty());
        }
    }
}
