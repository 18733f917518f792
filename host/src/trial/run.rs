//! The replay itself. It takes at most half of a core, and ends after some minutes.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::changes;
use super::side::Side;
use super::{Asked, Difference, Line, Steps, Summary, Trials};
use crate::plugin::Trial;
use crate::recorded::{Recorded, Recording};

/// Longest replay.
const LONGEST: Duration = Duration::from_secs(10 * 60);
/// Work between two pauses, each as long as the work before it.
const STRETCH: Duration = Duration::from_millis(5);
/// Pause before a line that found no room is sent again.
const FULL: Duration = Duration::from_millis(10);
/// One page of the log.
const PAGE: (usize, usize) = (256, 4 << 20);

/// What ended a replay before its time.
enum Ended {
    /// Nobody reads its lines, or the router is stopping.
    Alone,
    /// Why, for who reads them.
    Failed(String),
}

pub(super) fn run(trials: &Trials, asked: Asked, lines: &Sender<Line>) {
    let plugin = asked.candidate.name.clone();
    let (since_us, limit, steps) = (asked.since_us, asked.limit, asked.steps);
    let failed = |step: &str, reason: String| Line::Failed { step: step.into(), reason };
    let last = match trials.plugins.trial(asked.candidate) {
        Err(error) => failed(error.stage(), error.to_string()),
        Ok(trial) => {
            let Trial { live, candidate, version, replaces } = trial;
            if say(trials, lines, Line::Loaded { plugin, version, replaces }).is_err() {
                return;
            }
            let (live, candidate) = (Side::new(live, trials.pass), Side::new(candidate, trials.pass));
            let replay =
                Replay { trials, live, candidate, lines, left: limit, steps, sum: Summary::default() };
            match replay.run(since_us) {
                Ok(sum) => Line::Done(sum),
                Err(Ended::Failed(reason)) => failed("replay", reason),
                Err(Ended::Alone) => return,
            }
        }
    };
    // Who asked may have gone away.
    drop(say(trials, lines, last));
}

/// Waits for room, as long as somebody might make some.
fn say(trials: &Trials, lines: &Sender<Line>, mut line: Line) -> Result<(), Ended> {
    let until = Instant::now() + LONGEST;
    loop {
        match lines.try_send(line) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(Ended::Alone),
            Err(TrySendError::Full(back)) => line = back,
        }
        if trials.stopping.load(Ordering::Acquire) || Instant::now() > until {
            return Err(Ended::Alone);
        }
        std::thread::sleep(FULL);
    }
}

struct Replay<'a> {
    trials: &'a Trials,
    live: Side,
    candidate: Side,
    lines: &'a Sender<Line>,
    /// Differences that may still be told.
    left: usize,
    steps: bool,
    sum: Summary,
}

impl Replay<'_> {
    fn run(mut self, since_us: u64) -> Result<Summary, Ended> {
        let failed = |error: crate::store::StoreError| Ended::Failed(error.to_string());
        let until = Instant::now() + LONGEST;
        let mut recording = Recording::since(&self.trials.store, since_us).map_err(failed)?;
        let mut began = Instant::now();
        while let Some(page) = recording.next_page(&|_| true, PAGE.0, PAGE.1).map_err(failed)? {
            self.sum.lost += page.lost;
            for recorded in page.messages {
                if self.lines.is_closed() || self.trials.stopping.load(Ordering::Acquire) {
                    return Err(Ended::Alone);
                }
                if Instant::now() > until {
                    self.sum.out_of_time = true;
                    return Ok(self.sum);
                }
                self.one(&recorded)?;
                let worked = began.elapsed();
                if worked >= STRETCH {
                    std::thread::sleep(worked);
                    began = Instant::now();
                }
            }
        }
        Ok(self.sum)
    }

    fn one(&mut self, recorded: &Recorded) -> Result<(), Ended> {
        let Recorded { message, sender, .. } = recorded;
        let Some(principal) = sender.principal(message) else {
            self.sum.lost += 1;
            return Ok(());
        };
        let steps = self.steps && self.left > 0;
        let (live, candidate) = {
            let _clock = self.trials.plugins.engine().running();
            let live = self.live.run(&principal, message, steps);
            (live, self.candidate.run(&principal, message, steps))
        };
        let sum = &mut self.sum;
        sum.replayed += 1;
        sum.live_failed += u64::from(live.failed);
        sum.candidate_failed += u64::from(candidate.failed);
        if changes::is_same(&live, &candidate) {
            sum.same += 1;
            return Ok(());
        }
        sum.different += 1;
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        let difference = Difference {
            topic: message.topic.to_string(),
            time_us: message.received_us(),
            changes: changes::between(&live, &candidate),
            live: changes::shown(&live),
            candidate: changes::shown(&candidate),
            steps: steps.then_some(Steps { live: live.steps, candidate: candidate.steps }),
        };
        say(self.trials, self.lines, Line::Difference(Box::new(difference)))
    }
}
