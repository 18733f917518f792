//! Who is present at which topic, and who is told of it. Present = subscribed to exactly that topic.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use weir_contract::topic::Pattern;

use super::index::Index;
use crate::message::now_us;
use crate::session::{Notice, NoticeEncoder, Session, Subscription};

/// Members that are listed, and beyond which nobody is told who joins and leaves.
const LISTED: usize = 1_000;

/// The members of all topics, and the sessions that watch them. Its lock is taken under the index's, so that
/// members come and go in the very order in which subscriptions do.
#[derive(Default)]
pub(super) struct Presence {
    topics: HashMap<Arc<str>, HashMap<Who, Member>>,
    watchers: Index,
    /// The watching sessions' patterns.
    watched: HashMap<Arc<str>, HashSet<Arc<str>>>,
}

/// Tenant and name: several connections of one principal are one member.
type Who = (Arc<str>, Arc<str>);

struct Member {
    /// As its first connection has it.
    origin: Arc<str>,
    connections: usize,
    since_us: u64,
}

/// Who is present at one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Members in all.
    pub count: usize,
    /// The first 1,000 by name.
    pub members: Vec<PresentMember>,
}

/// A principal that is present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentMember {
    /// The principal's name.
    pub name: Arc<str>,
    /// Its origin.
    pub origin: Arc<str>,
    /// Its connections that are subscribed.
    pub connections: usize,
    /// Since when, Unix microseconds.
    pub since_us: u64,
}

impl Presence {
    /// The session begins to watch what matches its pattern, or ends.
    pub(super) fn watch(&mut self, session: &Arc<Session>, pattern: &Arc<str>, watch: bool) {
        if !watch {
            return self.unwatch(session, pattern);
        }
        if self.watched.entry(Arc::clone(&session.id)).or_default().insert(Arc::clone(pattern)) {
            let Ok(pattern) = Pattern::parse(pattern) else { return };
            self.watchers.insert(session, &Subscription::new(pattern, 0, &[], false));
        }
    }

    fn unwatch(&mut self, session: &Session, pattern: &str) {
        let Some(patterns) = self.watched.get_mut(&session.id) else { return };
        if patterns.remove(pattern) {
            self.watchers.remove(pattern, &session.id);
        }
        if patterns.is_empty() {
            self.watched.remove(&session.id);
        }
    }

    pub(super) fn watches(&self, session: &Session, pattern: &str) -> bool {
        self.watched.get(&session.id).is_some_and(|patterns| patterns.contains(pattern))
    }

    /// The session has subscribed to this pattern, which it had not before.
    pub(super) fn subscribed(&mut self, session: &Session, pattern: &Arc<str>) {
        if !is_exact(pattern) {
            return;
        }
        let now = now_us();
        let members = self.topics.entry(Arc::clone(pattern)).or_default();
        let member = members.entry(who(session)).or_insert_with(|| Member {
            origin: Arc::clone(&session.principal.origin),
            connections: 0,
            since_us: now,
        });
        member.connections += 1;
        if member.connections == 1 {
            let (origin, count) = (Arc::clone(&member.origin), members.len());
            self.tell(pattern, &session.principal.name, &origin, Change { joined: true, count, now });
        }
    }

    /// The session has given up this pattern, which it had.
    pub(super) fn unsubscribed(&mut self, session: &Session, pattern: &str) {
        // First, so that nobody hears of what it has just given up.
        self.unwatch(session, pattern);
        if !is_exact(pattern) {
            return;
        }
        let Some(members) = self.topics.get_mut(pattern) else { return };
        let (who, count) = (who(session), members.len());
        let Some(member) = members.get_mut(&who) else { return };
        member.connections = member.connections.saturating_sub(1);
        if member.connections > 0 {
            return;
        }
        let gone = members.remove(&who);
        if members.is_empty() {
            self.topics.remove(pattern);
        }
        if let Some(gone) = gone {
            self.tell(pattern, &who.1, &gone.origin, Change { joined: false, count, now: now_us() });
        }
    }

    /// Members of a topic.
    pub(super) fn at(&self, topic: &str) -> Present {
        let Some(members) = self.topics.get(topic) else { return Present::default() };
        let mut chosen: Vec<_> = members.iter().collect();
        if chosen.len() > LISTED {
            chosen.select_nth_unstable_by(LISTED, |(a, _), (b, _)| a.1.cmp(&b.1));
            chosen.truncate(LISTED);
        }
        chosen.sort_unstable_by(|(a, _), (b, _)| a.1.cmp(&b.1));
        let listed = chosen.into_iter().map(|((_, name), member)| PresentMember {
            name: Arc::clone(name),
            origin: Arc::clone(&member.origin),
            connections: member.connections,
            since_us: member.since_us,
        });
        Present { count: members.len(), members: listed.collect() }
    }

    /// Tells every session that watches the topic, each once.
    fn tell(&self, topic: &str, name: &str, origin: &str, change: Change) {
        if self.watched.is_empty() || change.count > LISTED + 1 {
            return;
        }
        let more = (change.count > LISTED).then_some(change.joined);
        let Change { joined, now: time_us, .. } = change;
        let notice = Notice::Presence { joined, topic, name, origin, time_us, more };
        // Sessions of one gateway share the frame.
        let mut encoded: Option<(NoticeEncoder, Bytes)> = None;
        for session in self.watchers.matching(topic) {
            let session = session.session;
            let Some(encode) = session.notices else { continue };
            let frame = match &encoded {
                Some((known, frame)) if std::ptr::fn_addr_eq(*known, encode) => frame.clone(),
                _ => encoded.insert((encode, encode(notice))).1.clone(),
            };
            session.outbound.push_control(frame);
        }
    }
}

/// What has changed at a topic.
struct Change {
    joined: bool,
    /// Members with the one that has joined or left.
    count: usize,
    now: u64,
}

fn who(session: &Session) -> Who {
    (Arc::clone(&session.principal.tenant), Arc::clone(&session.principal.name))
}

fn is_exact(pattern: &str) -> bool {
    !pattern.contains(['+', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Grant, Principal};
    use crate::router::Router;
    use crate::session::{Item, OutboundLimits};

    /// `join topic name more`, for the tests to read.
    fn subscription(pattern: &str) -> Arc<Subscription> {
        Subscription::new(Pattern::parse(pattern).unwrap(), 0, &[], false)
    }

    fn encode(notice: Notice<'_>) -> Bytes {
        let Notice::Presence { joined, topic, name, more, .. } = notice else { return Bytes::new() };
        let event = if joined { "join" } else { "leave" };
        format!("{event} {topic} {name} {more:?}").into()
    }

    fn session(id: usize, name: &str) -> Arc<Session> {
        let grant =
            Grant { tenant: "main".into(), name: name.into(), origin: "page".into(), ..Grant::default() };
        let principal = Principal::new(grant, "open".into(), "http", "s").unwrap();
        let limits = OutboundLimits { messages: 100_000, bytes: usize::MAX };
        Arc::new(Session::new(
            format!("s{id}").into(),
            principal,
            "http",
            String::new(),
            limits,
            Some(encode),
        ))
    }

    fn heard(session: &Session) -> Vec<String> {
        let mut items = std::collections::VecDeque::new();
        while session.outbound.try_take(&mut items) {}
        let text = |item| match item {
            Item::Control(frame) => String::from_utf8(frame.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        };
        items.into_iter().map(text).collect()
    }

    #[test]
    fn of_more_than_a_thousand_nobody_is_told_and_the_thousand_are_listed() {
        let router = Router::default();
        let watcher = session(0, "watcher");
        router.watch(&watcher, "#", true);
        router.subscribe(&watcher, &subscription("#"), None);
        let members: Vec<_> = (1..=1_003).map(|n| session(n, &format!("m{n:04}"))).collect();
        for member in members.iter().rev() {
            router.subscribe(member, &subscription("a"), None);
        }
        let joins = heard(&watcher);
        assert_eq!(joins.len(), 1_001);
        assert_eq!((&*joins[999], &*joins[1_000]), ("join a m0004 None", "join a m0003 Some(true)"));
        router.present("a", |present| {
            assert_eq!((present.count, present.members.len()), (1_003, 1_000));
            let names: Vec<_> = present.members.iter().map(|member| &*member.name).collect();
            assert_eq!((names[0], names[999]), ("m0001", "m1000"));
            assert!(names.is_sorted());
        });
        for member in &members {
            router.remove(member);
        }
        let leaves = heard(&watcher);
        assert_eq!(leaves.len(), 1_001);
        assert_eq!((&*leaves[0], &*leaves[1]), ("leave a m0003 Some(false)", "leave a m0004 None"));
        router.present("a", |present| assert_eq!(*present, Present::default()));
        router.remove(&watcher);
        let presence = router.presence.lock();
        assert!(presence.topics.is_empty() && presence.watched.is_empty(), "nothing is left behind");
    }

    #[test]
    fn threads_agree_with_what_the_watcher_heard() {
        let router = Router::default();
        let watcher = session(0, "watcher");
        router.watch(&watcher, "+", true);
        router.subscribe(&watcher, &subscription("+"), None);
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let router = &router;
                scope.spawn(move || {
                    // Two threads share each principal.
                    let session = session(thread + 1, &format!("p{}", thread % 2));
                    for round in 0..2_000 {
                        let topic = ["a", "b"][round % 2];
                        router.subscribe(&session, &subscription(topic), None);
                        match round % 5 {
                            0 => router.remove(&session),
                            1 | 2 => drop(router.unsubscribe(&session, topic)),
                            _ => {}
                        }
                    }
                });
            }
        });
        let mut there = std::collections::BTreeSet::new();
        for event in heard(&watcher) {
            let (event, member) = event.split_once(' ').unwrap();
            let changed = match event {
                "join" => there.insert(member.to_owned()),
                _ => there.remove(member),
            };
            assert!(changed, "{event} {member} was told twice");
        }
        let mut found = Vec::new();
        for topic in ["a", "b"] {
            router.present(topic, |present| {
                found.extend(present.members.iter().map(|member| format!("{topic} {} None", member.name)));
            });
        }
        assert_eq!(there.into_iter().collect::<Vec<_>>(), found);
    }
}
