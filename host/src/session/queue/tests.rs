//! The queue against a naive one: what is delivered and what is told as lost is everything, in order, within the
//! bounds.

use proptest::prelude::*;

use super::amount::ITEM_BYTES;
use super::sweep::SPARE;
use super::*;
use crate::message::{Message, Place};
use crate::session::Span;

const TOPICS: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    Publish { topic: usize, payload: usize, overflow: Overflow },
    Answer(usize),
    Take,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let overflow = prop_oneof![
        1 => Just(Overflow::Disconnect),
        4 => Just(Overflow::DropOldest),
        2 => Just(Overflow::DropNew),
        4 => Just(Overflow::LatestOnly),
    ];
    let publish = (0..TOPICS, 0..40_usize, overflow).prop_map(|(topic, payload, overflow)| Step::Publish {
        topic,
        payload,
        overflow,
    });
    let step = prop_oneof![
        30 => publish,
        2 => (0..40_usize).prop_map(Step::Answer),
        1 => Just(Step::Take),
    ];
    prop::collection::vec(step, 0..200)
}

/// What comes out: number of a message or an answer, in the order of publishing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Out {
    Message(usize),
    Answer(usize),
    Cut,
}

#[derive(Clone, Debug)]
struct Waiting {
    out: Out,
    size: usize,
    topic: usize,
    overflow: Overflow,
}

/// The rules, written down without a thought of speed.
struct Naive {
    limits: OutboundLimits,
    waiting: Vec<Waiting>,
    lost: Vec<usize>,
    cut: bool,
}

impl Naive {
    fn amount(&self, wanted: impl Fn(&Waiting) -> bool) -> Amount {
        let mut sum = Amount::default();
        self.waiting.iter().filter(|one| wanted(one)).for_each(|one| sum.add(one.size));
        sum
    }

    fn lose(&mut self, wanted: impl Fn(&Waiting) -> bool) {
        if let Some(at) = self.waiting.iter().position(wanted) {
            match self.waiting.remove(at).out {
                Out::Message(number) => self.lost.push(number),
                other => panic!("{other:?} is lost"),
            }
        }
    }

    fn push(&mut self, new: Waiting) {
        if self.cut {
            return;
        }
        let loose = |one: &Waiting| one.overflow != Overflow::Disconnect;
        if new.overflow == Overflow::LatestOnly {
            self.lose(|one| one.overflow == Overflow::LatestOnly && one.topic == new.topic);
        }
        let fits = |naive: &Self| naive.amount(|_| true).fits(new.size, naive.limits);
        if !fits(self)
            && new.overflow != Overflow::DropNew
            && self.amount(|one| !loose(one)).fits(new.size, self.limits)
        {
            while !fits(self) {
                self.lose(loose);
            }
        }
        match (&new.out, fits(self)) {
            (_, true) => self.waiting.push(new),
            (Out::Message(number), false) if loose(&new) => self.lost.push(*number),
            _ => {
                self.cut = true;
                self.waiting = vec![Waiting { out: Out::Cut, size: 0, ..new }];
            }
        }
    }
}

/// Message `number`, alone or one of three logs' (the third one: no log).
fn routed(number: usize, topic: usize, payload: usize, logs: usize) -> Arc<Routed> {
    let message = Message {
        topic: format!("t{topic}").into(),
        meta: Bytes::from_static(&[1]),
        payload: vec![b'x'; payload].into(),
    };
    let log = ["a", "b", ""][number % logs];
    let place = Place { log: log.into(), epoch: 1, offset: number as u64 };
    Arc::new(Routed::new(message, (!log.is_empty()).then_some(place)))
}

fn log_of(number: usize, logs: usize) -> Option<&'static str> {
    [Some("a"), Some("b"), None][number % logs]
}

struct Run {
    out: Vec<Item>,
    naive_out: Vec<Out>,
    naive: Naive,
    queue: Queue,
}

fn run(limits: OutboundLimits, steps: &[Step], logs: usize) -> Run {
    let mut queue = Queue::new(limits);
    let mut naive = Naive { limits, waiting: Vec::new(), lost: Vec::new(), cut: false };
    let (mut out, mut naive_out) = (Vec::new(), Vec::new());
    for (number, step) in steps.iter().chain(std::iter::repeat_n(&Step::Take, 4)).enumerate() {
        match *step {
            Step::Publish { topic, payload, overflow } => {
                let routed = routed(number, topic, payload, logs);
                queue.push_message(&routed, overflow);
                naive.push(Waiting { out: Out::Message(number), size: size(&routed), topic, overflow });
            }
            Step::Answer(length) => {
                let frame = format!("{number:0length$}");
                let size = frame.len() + ITEM_BYTES;
                queue.push_control(frame.into());
                let overflow = Overflow::Disconnect;
                naive.push(Waiting { out: Out::Answer(number), size, topic: usize::MAX, overflow });
            }
            Step::Take => {
                out.extend(take(&mut queue));
                naive_out.extend(naive.waiting.drain(..).map(|one| one.out));
            }
        }
        let (all, firm) = (naive.amount(|_| true), naive.amount(|one| one.overflow == Overflow::Disconnect));
        if !naive.cut {
            assert_eq!((queue.full, queue.firm()), (all, firm), "after {number}");
            assert!(all.bytes <= limits.bytes || all.items == 1);
        }
        assert!(queue.full.items <= limits.messages);
        // The memory of gaps is bounded too.
        let most = queue.full.items / 4 + SPARE;
        assert!(queue.slots.len() - queue.full.items <= most, "{} slots", queue.slots.len());
        assert!(queue.before.len() <= logs);
        assert!(queue.latest.len() <= queue.loose.items);
    }
    Run { out, naive_out, naive, queue }
}

fn outs(items: &[Item]) -> Vec<Out> {
    let out = |item: &Item| match item {
        Item::Message(routed) => {
            // Every message has its number somewhere, but one without a log only by its place in the test.
            routed.place.as_ref().map(|place| Out::Message(place.offset as usize))
        }
        Item::Control(frame) => Some(Out::Answer(std::str::from_utf8(frame).unwrap().parse().unwrap())),
        Item::Close(..) => Some(Out::Cut),
        Item::Gap(_) => None,
    };
    items.iter().filter_map(out).collect()
}

proptest! {
    #[test]
    fn delivered_and_gaps_are_everything(
        steps in steps(),
        messages in 1..12_usize,
        bytes in prop_oneof![Just(10_000_usize), 100..600_usize],
        logs in prop_oneof![Just(1_usize), Just(3)],
    ) {
        let run = run(OutboundLimits { messages, bytes }, &steps, logs);
        let logged = |out: &&Out| !matches!(out, Out::Message(number) if log_of(*number, logs).is_none());
        prop_assert_eq!(outs(&run.out), run.naive_out.iter().filter(logged).cloned().collect::<Vec<_>>());
        let lost: u64 = run.queue.lost.iter().sum();
        prop_assert_eq!(lost, run.naive.lost.len() as u64);
        let delivered = run.naive_out.iter().filter(|out| matches!(out, Out::Message(_))).count();
        prop_assert_eq!(run.queue.taken, delivered as u64);
        prop_assert!(run.queue.is_empty());
        if run.naive.cut {
            // Gaps that waited are cut off with the rest.
            return Ok(());
        }
        let gaps: Vec<(usize, &Gap)> = run.out.iter().enumerate()
            .filter_map(|(at, item)| match item { Item::Gap(gap) => Some((at, &**gap)), _ => None })
            .collect();
        for log in [Some("a"), Some("b"), None] {
            let missing: Vec<_> = run.naive.lost.iter().filter(|number| log_of(**number, logs) == log).collect();
            let of_log = |gap: &Gap| gap.span.as_ref().map(|span| &*span.log) == log;
            let told: u64 = gaps.iter().filter(|(_, gap)| of_log(gap)).map(|(_, gap)| gap.lost).sum();
            prop_assert_eq!(told, missing.len() as u64, "log {:?}", log);
            let Some(log) = log else { continue };
            let spans: Vec<_> = gaps.iter().filter_map(|(at, gap)| Some((at, gap.span.as_ref()?)))
                .filter(|(_, span)| &*span.log == log)
                .collect();
            for number in missing {
                let covered = spans.iter().any(|(_, span)| (span.from..=span.to).contains(&(*number as u64)));
                prop_assert!(covered, "{} is told by no gap of {:?}", number, spans);
            }
            // So few slots that gaps with messages in between are never made one.
            if messages <= 3 && logs == 1 {
                for (at, span) in spans {
                    let stands_well = run.out.iter().enumerate().all(|(other, item)| match item {
                        Item::Message(routed) => routed.place.as_ref().is_none_or(|place| {
                            if other < *at { place.offset < span.from } else { place.offset > span.to }
                        }),
                        _ => true,
                    });
                    prop_assert!(stands_well, "{:?} in {:?}", span, run.out);
                }
            }
        }
    }
}

fn take(queue: &mut Queue) -> Vec<Item> {
    let mut items = Vec::new();
    queue.take(|load| match load {
        Load::One(item) => items.push(item),
        Load::Run(run) => items.extend(run.messages().iter().cloned().map(Item::Message)),
    });
    items
}

fn numbers(items: &[Item]) -> Vec<u64> {
    let of = |item: &Item| match item {
        Item::Message(routed) => Some(routed.place.as_ref()?.offset),
        _ => None,
    };
    items.iter().filter_map(of).collect()
}

#[test]
fn each_policy_in_a_word() {
    let limits = OutboundLimits { messages: 3, bytes: 10_000 };
    for (overflow, topics, waits, gap) in [
        (Overflow::DropOldest, [0, 0, 0, 0, 0], &[2, 3, 4][..], (0, 1, 2)),
        (Overflow::DropNew, [0, 0, 0, 0, 0], &[0, 1, 2], (3, 4, 2)),
        (Overflow::LatestOnly, [0, 0, 0, 0, 0], &[4], (0, 3, 4)),
        (Overflow::LatestOnly, [0, 1, 2, 3, 4], &[2, 3, 4], (0, 1, 2)),
    ] {
        let mut queue = Queue::new(limits);
        for (number, topic) in topics.into_iter().enumerate() {
            queue.push_message(&routed(number, topic, 1, 1), overflow);
        }
        let items = take(&mut queue);
        assert_eq!(numbers(&items), waits, "{overflow:?}");
        let found: Vec<_> = items.iter().filter(|item| matches!(item, Item::Gap(_))).collect();
        let [Item::Gap(found)] = found[..] else { panic!("{overflow:?}: {items:?}") };
        let (from, to, lost) = gap;
        assert_eq!(**found, Gap { span: Some(Span { log: "a".into(), epoch: 1, from, to }), lost });
    }
    let mut queue = Queue::new(limits);
    for number in 0..3 {
        assert_eq!(queue.push_message(&routed(number, 0, 1, 1), Overflow::Disconnect), Pushed::Queued);
    }
    assert_eq!(queue.push_message(&routed(3, 0, 1, 1), Overflow::DropOldest), Pushed::Lost);
    assert_eq!(queue.push_message(&routed(4, 0, 1, 1), Overflow::Disconnect), Pushed::Overflowed);
    assert!(matches!(&take(&mut queue)[..], [Item::Close(1008, _)]));
}

#[test]
fn an_answer_finds_room_among_what_may_be_lost() {
    let mut queue = Queue::new(OutboundLimits { messages: 3, bytes: 10_000 });
    for number in 0..3 {
        queue.push_message(&routed(number, 0, 1, 1), Overflow::DropNew);
    }
    assert_eq!(queue.push_control("0".into()), Pushed::Queued);
    assert_eq!(numbers(&take(&mut queue)), [1, 2]);
}

#[test]
fn one_take_is_bounded_and_takes_the_rest_next_time() {
    let mut queue = Queue::new(OutboundLimits { messages: 1_000, bytes: 100 << 20 });
    for number in 0..100 {
        queue.push_message(&routed(number, 0, 1, 1), Overflow::Disconnect);
    }
    assert_eq!((take(&mut queue).len(), take(&mut queue).len(), take(&mut queue).len()), (64, 36, 0));
    for number in 0..3 {
        queue.push_message(&routed(number, 0, TAKE_BYTES, 1), Overflow::Disconnect);
    }
    assert_eq!(take(&mut queue).len(), 1);
    queue.cut();
    queue.shrink();
    assert!(queue.slots.capacity() <= KEPT);
}

/// What is done to two queues, one of which gets runs whole where it can.
#[derive(Clone, Debug)]
enum Move {
    Publish { messages: usize, payload: usize, overflow: Overflow },
    Answer,
    Take,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let overflow = prop_oneof![4 => Just(Overflow::Disconnect), 1 => Just(Overflow::DropOldest)];
    let publish = (1..6_usize, 0..40_usize, overflow)
        .prop_map(|(messages, payload, overflow)| Move::Publish { messages, payload, overflow });
    prop::collection::vec(prop_oneof![6 => publish, 1 => Just(Move::Answer), 2 => Just(Move::Take)], 0..60)
}

proptest! {
    #[test]
    fn a_run_is_as_good_as_its_messages_one_by_one(
        moves in moves(), messages in 1..30_usize, bytes in 1..4_000_usize,
    ) {
        let limits = OutboundLimits { messages, bytes };
        let (mut whole, mut single) = (Queue::new(limits), Queue::new(limits));
        for (number, step) in moves.iter().chain([&Move::Take, &Move::Take]).enumerate() {
            match *step {
                Move::Publish { messages, payload, overflow } => {
                    let all: Vec<_> = (0..messages).map(|at| routed(number * 8 + at, number, payload, 1)).collect();
                    let run = crate::message::Run::of(&all).filter(|_| overflow == Overflow::Disconnect);
                    if run.and_then(|run| whole.push_run(&Arc::new(run))).is_none() {
                        for routed in &all {
                            whole.push_message(routed, overflow);
                        }
                    }
                    for routed in &all {
                        single.push_message(routed, overflow);
                    }
                }
                Move::Answer => {
                    prop_assert_eq!(whole.push_control(Bytes::new()), single.push_control(Bytes::new()));
                }
                Move::Take => {
                    prop_assert_eq!(format!("{:?}", take(&mut whole)), format!("{:?}", take(&mut single)));
                }
            }
            prop_assert_eq!((whole.full, whole.firm()), (single.full, single.firm()));
            prop_assert_eq!((whole.empty(), whole.taken, whole.closed), (single.empty(), single.taken, single.closed));
        }
    }
}
