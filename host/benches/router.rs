//! Whom a message goes to, when sessions hold 100,000 patterns with `+` and `#`: `cargo xtask bench router`. Microseconds
//! to find a topic's readers and put the message into their queues, `uncached` (a subscription has changed) and `cached`;
//! and nanoseconds of a publish to one reader while others hold 0, 10,000 or 100,000 subscriptions that do not match.
//! In this process, without sockets: one core.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a benchmark whose set-up fails has nothing better to do than to say so"
)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use weir::message::{Grant, Message, Principal, Routed};
use weir::router::{Readers, Router};
use weir::session::{OutboundLimits, Session, Subscription};
use weir_contract::topic::Pattern;

const PATTERNS: usize = 100_000;
const PER_SESSION: usize = 100;
/// Topics that are published to, in turns.
const TOPICS: usize = 1_000;
/// Publishes of one sample; queues are emptied between samples.
const CALLS: usize = 10_000;
/// The median of so many samples counts.
const SAMPLES: usize = 9;

fn main() {
    let (uncached, cached, readers) = wildcards();
    println!("{PATTERNS} patterns with wildcards, {readers:.1} readers of a topic:");
    println!("  uncached {uncached:>7.2} us, cached {cached:>7.2} us per message");
    let mut figures = Vec::new();
    for idle in [0, 10_000, 100_000] {
        let (uncached, cached) = among_idle(idle);
        println!(
            "{idle:>7} idle subscriptions of others: {:>6.0} ns uncached, {:>6.0} ns cached",
            1e3 * uncached,
            1e3 * cached
        );
        figures.push(format!(
            "\"{idle}\":{{\"uncached\":{:.0},\"cached\":{:.0}}}",
            1e3 * uncached,
            1e3 * cached
        ));
    }
    println!(
        "{{\"match_us\":{{\"uncached\":{uncached:.2},\"cached\":{cached:.2},\"readers\":{readers:.1}}},\"publish_ns\":{{{}}}}}",
        figures.join(",")
    );
}

/// Sessions with patterns of five forms; of each topic a few of each form match, and one that begins with a wildcard
/// has its branch beside that of every literal.
fn wildcards() -> (f64, f64, f64) {
    let router = Router::new(Vec::new());
    let sessions: Vec<_> = (0..PATTERNS / PER_SESSION).map(session).collect();
    for number in 0..PATTERNS {
        let (site, room) = (number % 1_000, number / 5_000);
        let pattern = match number % 5 {
            0 => format!("site/{site}/room/{room}/+"),
            1 => format!("site/{site}/+/{room}/temperature"),
            2 => format!("site/{site}/room/{room}/#"),
            3 => format!("+/{site}/room/{room}/temperature"),
            _ => format!("site/+/room/{number}/#"),
        };
        subscribe(&router, &sessions[number / PER_SESSION], &pattern);
    }
    assert_eq!(router.list().iter().map(|line| line.sessions).sum::<usize>(), PATTERNS, "no pattern twice");
    let topic = |number: usize| format!("site/{}/room/{}/temperature", number % 1_000, number % 20);
    let messages: Vec<_> = (0..TOPICS).map(|number| routed(&topic(number))).collect();
    let found: usize =
        messages.iter().map(|message| router.dispatch(&mut Readers::default(), message, None)).sum();
    let (uncached, cached) = measure(&router, &messages, &sessions);
    (uncached, cached, found as f64 / TOPICS as f64)
}

/// One reader of each topic, and so many subscriptions of others that do not match.
fn among_idle(idle: usize) -> (f64, f64) {
    let router = Router::new(Vec::new());
    let others: Vec<_> = (0..=idle / PER_SESSION).map(session).collect();
    for number in 0..idle {
        subscribe(&router, &others[number / PER_SESSION], &format!("idle/{number}/+/#"));
    }
    let reader = session(usize::MAX);
    subscribe(&router, &reader, "live/+/temperature");
    let messages: Vec<_> = (0..TOPICS).map(|number| routed(&format!("live/{number}/temperature"))).collect();
    let figures = measure(&router, &messages, &[reader]);
    assert!(others.iter().all(|other| other.outbound.backlog().items == 0), "nobody else gets it");
    figures
}

/// Microseconds per message, uncached and cached.
fn measure(router: &Router, messages: &[Arc<Routed>], sessions: &[Arc<Session>]) -> (f64, f64) {
    let uncached =
        median(messages, sessions, |message| router.dispatch(&mut Readers::default(), message, None));
    let mut readers = Readers::default();
    let cached = median(messages, sessions, |message| router.dispatch(&mut readers, message, None));
    (uncached, cached)
}

/// Microseconds of a call that says how many readers the message has.
fn median(
    messages: &[Arc<Routed>],
    sessions: &[Arc<Session>],
    mut publish: impl FnMut(&Arc<Routed>) -> usize,
) -> f64 {
    let mut round = || {
        let began = Instant::now();
        for message in messages.iter().cycle().take(CALLS) {
            assert!(black_box(publish(message)) > 0, "somebody reads it");
        }
        let us = began.elapsed().as_secs_f64() * 1e6 / CALLS as f64;
        sessions.iter().for_each(empty);
        us
    };
    round();
    let mut samples: Vec<f64> = (0..SAMPLES).map(|_| round()).collect();
    samples.sort_by(f64::total_cmp);
    samples[SAMPLES / 2]
}

fn empty(session: &Arc<Session>) {
    let mut taken = VecDeque::new();
    while session.outbound.try_take(&mut taken) {
        taken.clear();
    }
    assert!(!session.outbound.is_closed(), "its queue was large enough");
}

fn subscribe(router: &Router, session: &Arc<Session>, pattern: &str) {
    let pattern = Pattern::parse(pattern).expect("a pattern");
    router.subscribe(session, &Subscription::new(pattern, 1, &[], false), None);
}

fn session(number: usize) -> Arc<Session> {
    let grant =
        Grant { tenant: "main".into(), name: "reader".into(), origin: "page".into(), ..Grant::default() };
    let id = format!("s{number}");
    let principal = Principal::new(grant, "open".into(), "http", &id).expect("a principal");
    let limits = OutboundLimits { messages: usize::MAX, bytes: usize::MAX };
    Arc::new(Session::new(id.as_str().into(), principal, "http", String::new(), limits, None))
}

fn routed(topic: &str) -> Arc<Routed> {
    let payload = vec![b'x'; 128].into();
    Arc::new(Routed::new(Message { topic: topic.into(), meta: Vec::new().into(), payload }, None))
}
