//! A subscription enters the stream at one place in each log: what is before it is replayed, if that was asked
//! for, and what is behind it comes as it is published.

use std::sync::Arc;

use weir_contract::topic::{self, Pattern};

use super::Sequencer;
use crate::message::{Outcome, Places, Refusal, Since};
use crate::session::{Session, Subscription};
use crate::store::{Log, Resume};

/// What a session asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The pattern.
    pub pattern: Pattern,
    /// Where reading begins; none: now, and a pattern that the session holds stays as it is.
    pub since: Option<Since>,
    /// Whether the retained messages come first; none: unless `since` is given. Said of a pattern that the session
    /// holds, they come again.
    pub retained: Option<bool>,
    /// It is also told who joins and leaves these topics.
    pub presence: bool,
    /// The session that gives this very pattern up to this one.
    pub instead_of: Option<Arc<Session>>,
}

/// A subscription that stands.
#[derive(Debug)]
pub struct Joined {
    /// False: the session held the pattern before.
    pub new: bool,
    /// Of every log whose topics the pattern may meet, the message behind which deliveries begin.
    pub places: Places,
    /// If it begins in the past: whether nothing is missing.
    pub recovered: Option<bool>,
    /// Of the logs where something is missing, the first place that comes.
    pub oldest: Places,
    /// What has to be sent beside what is published.
    pub replay: Option<Replay>,
}

/// What a subscription begins with: retained messages, if there are, then what is read from logs.
#[derive(Debug)]
pub struct Replay {
    /// For which.
    pub subscription: Arc<Subscription>,
    /// Whether there may be retained messages for it.
    pub retained: bool,
    /// The logs to be read, by position, and where to begin in each.
    pub starts: Vec<(usize, u64)>,
    /// Whether the session is told of the end.
    pub announced: bool,
}

impl Sequencer {
    /// The logs, by position, to which matching topics may go.
    pub fn logs_of(&self, pattern: &Pattern) -> Vec<usize> {
        if topic::is_reserved(pattern.as_str()) {
            return Vec::new();
        }
        let meets = |topics: &[Pattern]| topics.iter().any(|topics| topics.overlaps(pattern));
        let lanes = self.lanes.iter().enumerate();
        lanes.filter(|(_, lane)| meets(&lane.topics)).map(|(at, _)| at).collect()
    }

    /// The logs that may keep messages of some of these topics.
    pub fn meet(&self, topics: &[Pattern]) -> Vec<Log> {
        let met = |log: &&Log| topics.iter().any(|pattern| self.logs_of(pattern).contains(&log.index()));
        self.store.logs().iter().filter(met).cloned().collect()
    }

    /// Lets a session in. Nothing is published meanwhile to the logs that it meets, so the places are exact.
    pub fn join(&self, session: &Arc<Session>, wanted: Wanted) -> Result<Joined, Outcome> {
        self.check_names(wanted.since.as_ref())?;
        let logs = self.logs_of(&wanted.pattern);
        let lanes: Vec<_> =
            logs.iter().filter_map(|at| self.lanes.get(*at)).map(|lane| lane.readers.lock()).collect();
        let asked = wanted.retained == Some(true);
        let retained = wanted.retained.unwrap_or(wanted.since.is_none());
        // Topics without a log retain messages, too.
        let unlogged = retained.then(|| self.unlogged.lock());
        let mut oldest = Places::default();
        let starts = self.starts(&logs, wanted.since.as_ref(), &mut oldest);
        let places = self.places(&starts);
        let held = if wanted.since.is_none() { session.held(wanted.pattern.as_str()) } else { None };
        if let Some(subscription) = held {
            let again = asked && subscription.begin_retained(&self.retained, &starts);
            if again {
                self.router.readers_changed();
            }
            let replay =
                again.then_some(Replay { subscription, retained: true, starts: Vec::new(), announced: true });
            return Ok(Joined { new: false, places, recovered: None, oldest, replay });
        }
        let past = matches!(wanted.since, Some(Since::Start | Since::Places(_)));
        // Behind a replay that is under way: else what matches both would come in another order than the log's.
        let replayed = past || session.is_replaying();
        let subscription = Subscription::new(wanted.pattern, self.lanes.len(), &starts, replayed);
        let retained = retained
            && (asked || self.retained.may_match(subscription.pattern()))
            && subscription.begin_retained(&self.retained, &starts);
        let new = self.router.subscribe(session, &subscription, wanted.instead_of.as_deref());
        drop((lanes, unlogged));
        let recovered = past.then_some(oldest.0.is_empty());
        let announced = past || asked;
        let starts = if replayed { starts } else { Vec::new() };
        let replay = (replayed || retained).then_some(Replay { subscription, retained, starts, announced });
        Ok(Joined { new, places, recovered, oldest, replay })
    }

    /// Runs `work` while nothing is published to a log, with the offset that its next message gets.
    pub fn in_lane<R>(&self, log: usize, work: impl FnOnce(u64) -> R) -> Option<R> {
        let _readers = self.lanes.get(log)?.readers.lock();
        Some(work(self.store.logs().get(log)?.assigned()))
    }

    /// Refuses places in logs that there are not.
    pub fn check_names(&self, since: Option<&Since>) -> Result<(), Outcome> {
        let Some(Since::Places(places)) = since else { return Ok(()) };
        match places.0.keys().find(|name| self.store.log(name).is_none()) {
            None => Ok(()),
            Some(name) => Err(self.no_log(name)),
        }
    }

    /// The refusal of a log that there is not.
    pub fn no_log(&self, name: &str) -> Outcome {
        let readable = self.store.logs().iter().filter(|log| !log.is_input());
        let there_are: Vec<&str> = readable.map(|log| &**log.name()).collect();
        let reason = format!("no log is named {name:?}: there are {}", there_are.join(", "));
        Outcome::Invalid(Refusal { reason, ..Refusal::default() })
    }

    fn starts(&self, logs: &[usize], since: Option<&Since>, oldest: &mut Places) -> Vec<(usize, u64)> {
        let start = |log: &Log| match since {
            None | Some(Since::Now) => log.assigned(),
            Some(since) => first_of(log, since, oldest),
        };
        let logs = logs.iter().filter_map(|at| self.store.logs().get(*at));
        let indices = logs.clone().map(Log::index);
        indices.zip(logs.map(start)).collect()
    }

    fn places(&self, starts: &[(usize, u64)]) -> Places {
        let mut places = Places::default();
        for (at, start) in starts {
            if let Some(log) = self.store.logs().get(*at)
                && let Some((epoch, offset)) = log.place_before(*start)
            {
                places.saw(log.name(), epoch, offset);
            }
        }
        places
    }
}

/// The first offset to be read of a log, oldest first. Where something is missing, it is noted in `oldest`.
pub fn first_of(log: &Log, since: &Since, oldest: &mut Places) -> u64 {
    let Since::Places(places) = since else { return log.oldest() };
    let Some((epoch, offset)) = places.0.get(log.name()) else { return log.oldest() };
    match log.resume(*epoch, *offset) {
        Resume::Recovered => offset + 1,
        Resume::Lost { oldest: first } => {
            oldest.saw(log.name(), log.epoch_of(first), first);
            first
        }
    }
}

/// The offset before which a log is to be read, newest first. A place that never was is noted in `oldest`, and reading
/// begins with the newest message.
pub fn before_of(log: &Log, since: &Since, oldest: &mut Places) -> u64 {
    let Since::Places(places) = since else { return log.durable() };
    let Some((epoch, offset)) = places.0.get(log.name()) else { return log.durable() };
    let first = log.oldest();
    // As the end of what was read, a place may be the one that comes next.
    let end = log.assigned();
    let before = match log.life(*epoch) {
        Some(life) if *offset < life.start || *offset > end => None,
        Some(life) if *offset <= life.end => return *offset,
        // A crash took what was there: what is left of that life is older.
        Some(life) => Some(life.end),
        // Of a life that is not known any more: all of it was older than what is there.
        None if *offset < first => Some(*offset),
        None => None,
    };
    oldest.saw(log.name(), log.epoch_of(first), first);
    before.unwrap_or_else(|| log.durable())
}
