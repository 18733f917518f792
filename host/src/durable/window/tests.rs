//! The window against the naive thing: each message on its own.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// What the window must agree with: each message on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naive {
    Unseen,
    Out { member: u64, until: u64, deliveries: u32 },
    Due { deliveries: u32 },
    Done,
    Passed,
}

#[derive(Clone, Debug)]
enum Act {
    Next(u64),
    Again(u64),
    Skip,
    Ack(usize),
    AckUpTo(usize),
    Sleep(u64),
    Leave(u64),
    Trim(usize),
    Restart,
}

const MESSAGES: usize = 24;
const WAIT: u64 = 10;

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_u64).prop_map(Act::Next),
        2 => (0..3_u64).prop_map(Act::Again),
        1 => Just(Act::Skip),
        4 => (0..MESSAGES).prop_map(Act::Ack),
        1 => (0..MESSAGES).prop_map(Act::AckUpTo),
        1 => (1..2 * WAIT).prop_map(Act::Sleep),
        1 => (0..3_u64).prop_map(Act::Leave),
        1 => (0..MESSAGES).prop_map(Act::Trim),
        1 => Just(Act::Restart),
    ]
}

struct Model {
    start: Instant,
    now: u64,
    window: Window,
    naive: Vec<Naive>,
}

impl Model {
    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn do_it(&mut self, act: &Act) {
        let until = self.now + WAIT;
        match *act {
            Act::Next(member) => {
                let next = self.naive.iter().position(|one| *one == Naive::Unseen);
                if let Some(offset) = next.filter(|at| self.window.wants(*at as u64)) {
                    assert_eq!(self.window.deliver(offset as u64, member, self.at(until)), 1);
                    self.naive[offset] = Naive::Out { member, until, deliveries: 1 };
                }
            }
            Act::Again(member) => {
                let due = self.naive.iter().position(|one| matches!(one, Naive::Due { .. }));
                assert_eq!(self.window.first_due(0), due.map(|at| at as u64));
                if let Some(offset) = due
                    && let Naive::Due { deliveries } = self.naive[offset]
                {
                    let deliveries = deliveries + 1;
                    let given = self.window.deliver(offset as u64, member, self.at(until));
                    assert_eq!(given, deliveries);
                    self.naive[offset] = Naive::Out { member, until, deliveries };
                }
            }
            Act::Skip => {
                if let Some(offset) = self.naive.iter().position(|one| *one == Naive::Unseen) {
                    self.window.pass(offset as u64 + 1);
                    self.naive[offset] = Naive::Passed;
                }
            }
            Act::Ack(offset) => {
                let before = matches!(self.naive[offset], Naive::Done | Naive::Passed);
                let acked = self.window.ack(offset as u64);
                assert_eq!(acked, if before { Acked::Before } else { Acked::Now });
                if !before {
                    self.naive[offset] = Naive::Done;
                }
            }
            Act::AckUpTo(offset) => {
                let in_flight = |one: &&Naive| matches!(one, Naive::Out { .. } | Naive::Due { .. });
                let wanted = self.naive[..=offset].iter().filter(in_flight).count();
                assert_eq!(self.window.ack_up_to(offset as u64), wanted);
                self.naive[..=offset].fill(Naive::Done);
            }
            Act::Sleep(ms) => {
                self.now += ms;
                self.window.expire(self.at(self.now));
                self.take_back(|_, until, now| until <= now);
            }
            Act::Leave(gone) => {
                self.window.release(gone);
                self.take_back(|member, _, _| member == gone);
            }
            Act::Trim(oldest) => {
                let lost: Vec<usize> = (0..oldest)
                    .filter(|at| matches!(self.naive[*at], Naive::Unseen | Naive::Due { .. }))
                    .collect();
                let gap = self.window.trim(oldest as u64);
                for at in &lost {
                    let at = *at as u64;
                    assert!(gap.as_ref().is_some_and(|gap| gap.contains(&at)), "{gap:?} {at}");
                    self.naive[at as usize] = Naive::Done;
                }
                assert_eq!(gap.is_some(), !lost.is_empty(), "{gap:?}");
            }
            Act::Restart => {
                let window = &self.window;
                self.window = Window::restored(window.next(), window.open(), window.ahead().collect());
                self.take_back(|_, _, _| true);
            }
        }
    }

    fn take_back(&mut self, taken: impl Fn(u64, u64, u64) -> bool) {
        for one in &mut self.naive {
            if let Naive::Out { member, until, deliveries } = *one
                && taken(member, until, self.now)
            {
                *one = Naive::Due { deliveries };
            }
        }
    }

    fn agree(&self) {
        let count = |wanted: &dyn Fn(&Naive) -> bool| self.naive.iter().filter(|one| wanted(one)).count();
        let open = count(&|one| matches!(one, Naive::Out { .. } | Naive::Due { .. }));
        assert_eq!(self.window.in_flight(), open);
        for member in 0..3 {
            let its = count(&|one| matches!(one, Naive::Out { member: holder, .. } if *holder == member));
            assert_eq!(self.window.held_by(member), its);
        }
        for (offset, one) in self.naive.iter().enumerate() {
            let offset = offset as u64;
            assert_eq!(self.window.is_due(offset), matches!(one, Naive::Due { .. }), "{offset}");
            assert_eq!(self.window.wants(offset), *one == Naive::Unseen, "{offset}");
            if offset < self.window.cursor() {
                assert!(matches!(one, Naive::Done | Naive::Passed), "{offset}: {one:?}");
            }
        }
        let timers = self.naive.iter().filter_map(|one| match one {
            Naive::Out { until, .. } => Some(self.at(*until)),
            _ => None,
        });
        assert_eq!(self.window.earliest(), timers.min());
    }
}

proptest! {
    #[test]
    fn it_agrees_with_each_message_on_its_own(acts in proptest::collection::vec(act(), 0..80)) {
        let naive = vec![Naive::Unseen; MESSAGES];
        let mut model = Model { start: Instant::now(), now: 0, window: Window::new(0), naive };
        for act in acts {
            model.do_it(&act);
            model.agree();
        }
    }
}

#[test]
fn acknowledgements_ahead_are_bounded() {
    let mut window = Window::new(0);
    for offset in 1..=AHEAD as u64 {
        assert_eq!(window.ack(offset), Acked::Now);
    }
    assert_eq!(window.ack(AHEAD as u64 + 1), Acked::TooFar);
    window.pass(1);
    assert_eq!((window.next(), window.ahead().count()), (AHEAD as u64 + 1, 0));
}
