//! Finding or making a consumer, and finding all of them at start-up.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use weir_contract::topic::Pattern;

use super::consumer::{Begin, Consumer, State};
use super::record::{LogRecord, Record};
use super::window::Window;
use super::{GRACE, Key, Most, NAME_BYTES, Options, READS, Refused, Registry, SPACE};
use crate::message::{Places, Since, now_us};
use crate::metrics::DurableMetrics;
use crate::session::Session;
use crate::store::{Log, Queue, Resume, StateValue, Store, StoreError};

/// Options that were given; the others stay as they are, or have their defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Milliseconds.
    pub ack_wait_ms: Option<u64>,
    /// Messages.
    pub max_in_flight: Option<u64>,
    /// Milliseconds.
    pub expires_after_ms: Option<u64>,
}

/// A consumer to be read, made if there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// As [`check_name`] wants it, unless it is a session's.
    pub name: String,
    /// A group, which several sessions share.
    pub shared: bool,
    /// What it reads; authorised with action `subscribe`.
    pub pattern: String,
    /// Changes of its options.
    pub options: Asked,
    /// Where a new one begins.
    pub since: Since,
}

/// Where a consumer begins that was made now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// If it begins behind places: whether nothing is missing behind them.
    pub recovered: Option<bool>,
    /// Of the logs where something is missing, the first place that comes.
    pub oldest: Places,
}

impl Asked {
    fn over(self, mut options: Options) -> Options {
        if let Some(wait) = self.ack_wait_ms {
            options.ack_wait = Duration::from_millis(wait);
        }
        if let Some(most) = self.max_in_flight.and_then(|most| usize::try_from(most).ok()) {
            options.max_in_flight = most;
        }
        if let Some(after) = self.expires_after_ms {
            options.expires_after = Duration::from_millis(after);
        }
        options
    }
}

impl Registry {
    /// Those that the store has kept. `topics`: the rules of the logs, in the order of `store.logs()`.
    pub fn load(
        store: Store,
        topics: Vec<Vec<Pattern>>,
        most: Most,
        metrics: DurableMetrics,
    ) -> Result<Arc<Self>, StoreError> {
        let records = store.load_space(SPACE)?;
        let registry = Self {
            store,
            space: SPACE.into(),
            topics,
            most,
            metrics,
            all: RwLock::default(),
            sessions: Mutex::default(),
            changed: Mutex::default(),
            behind: Notify::new(),
            reads: Semaphore::new(READS),
            closing: CancellationToken::new(),
        };
        let mut all = HashMap::new();
        for pair in records {
            let id = String::from_utf8_lossy(&pair.key).into_owned();
            let record = serde_json::from_slice::<Record>(&pair.value).map_err(|error| error.to_string());
            match record.and_then(|record| registry.restore(&id, record)) {
                Ok(consumer) => drop(all.insert(consumer.key.clone(), Arc::new(consumer))),
                Err(error) => tracing::error!(id, error, "the record of a consumer cannot be read"),
            }
        }
        *registry.all.write() = all;
        Ok(Arc::new(registry))
    }

    /// A consumer as it was before the restart.
    fn restore(&self, id: &str, mut record: Record) -> Result<Consumer, String> {
        let pattern = Pattern::parse(&record.pattern).map_err(|error| error.to_string())?;
        let met = self.logs_of(&pattern);
        let known = |log: &&Log| {
            record.logs.contains_key(&**log.name()) || met.iter().any(|met| met.name() == log.name())
        };
        let logs: Vec<Log> = self.store.logs().iter().filter(known).cloned().collect();
        let (mut windows, mut gaps) = (Vec::new(), Vec::new());
        for log in &logs {
            let (window, gap) = match record.logs.remove(&**log.name()) {
                Some(at) => settle(id, log, &at),
                // A log that is new to it: nothing of it has been read.
                None => (Window::new(log.oldest()), None),
            };
            windows.push(window);
            gaps.push(gap);
        }
        let options = Asked {
            ack_wait_ms: Some(record.ack_wait_ms),
            max_in_flight: u64::try_from(record.max_in_flight).ok(),
            expires_after_ms: Some(record.expires_after_ms),
        }
        .over(Options::default());
        let begin = Begin {
            options,
            windows,
            gaps,
            active_us: record.active_us.max(earliest_active(options)),
            redelivered: record.redelivered,
            missed: record.missed,
        };
        let key = Key {
            tenant: record.tenant.into(),
            owner: record.owner.map(Into::into),
            name: record.name.into(),
        };
        let consumer = self.build(id.into(), key, record.maker.into(), pattern, logs, begin);
        let consumer = Consumer { elsewhere: record.logs, ..consumer };
        consumer.set_holds(Some(&consumer.state.lock().keeping.cursors));
        Ok(consumer)
    }

    fn build(
        &self,
        id: Arc<str>,
        key: Key,
        maker: Arc<str>,
        pattern: Pattern,
        logs: Vec<Log>,
        begin: Begin,
    ) -> Consumer {
        Consumer {
            id,
            key,
            maker,
            pattern,
            logs,
            elsewhere: Default::default(),
            metrics: self.metrics.clone(),
            state: Mutex::new(State::new(begin)),
            wake: Notify::new(),
        }
    }

    /// The consumer of this name; with `Made`, it was made now, and is on the disk.
    pub(super) async fn open(
        self: &Arc<Self>,
        session: &Session,
        request: &Request,
    ) -> Result<(Arc<Consumer>, Option<Made>), Refused> {
        let pattern =
            Pattern::parse(&request.pattern).map_err(|error| Refused::Invalid(error.to_string()))?;
        let key = Key::of(session, &request.name, request.shared);
        let (consumer, oldest, durable) = {
            let mut all = self.all.write();
            if let Some(consumer) = all.get(&key) {
                self.adapt(consumer, request)?;
                return Ok((Arc::clone(consumer), None));
            }
            let consumer = self.make(key, session, pattern, request)?;
            let maker = (&consumer.key.tenant, &consumer.maker);
            let made = all.values().filter(|other| {
                (&other.key.tenant, &other.maker) == maker && check_name(&other.key.name).is_ok()
            });
            // Those of sessions have bounds of their own.
            let made = if check_name(&request.name).is_ok() { made.count() } else { 0 };
            self.check_most(made, all.len())?;
            let mut oldest = Places::default();
            let durable = self.write_new(&consumer, &request.since, &mut oldest)?;
            all.insert(consumer.key.clone(), Arc::clone(&consumer));
            (consumer, oldest, durable)
        };
        match durable.await {
            Ok(Ok(())) => {
                let placed = matches!(request.since, Since::Places(_));
                let recovered = placed.then_some(oldest.0.is_empty());
                Ok((consumer, Some(Made { recovered, oldest })))
            }
            failed => {
                self.forget(&consumer, "it could not be stored");
                Err(failed.map_or(Refused::ShuttingDown, |result| match result {
                    Err(error) => Refused::Unavailable(error.to_string()),
                    Ok(()) => Refused::ShuttingDown,
                }))
            }
        }
    }

    fn check_most(&self, made: usize, total: usize) -> Result<(), Refused> {
        let Most { per_principal, total: most } = self.most;
        if made >= per_principal {
            return Err(Refused::Invalid(format!(
                "you have made {made} consumers and groups, at most {per_principal} are accepted: delete one first"
            )));
        }
        if total >= most {
            return Err(Refused::Invalid(format!("this router has {most} consumers and takes no more")));
        }
        Ok(())
    }

    /// Somebody comes to a consumer that there is.
    fn adapt(self: &Arc<Self>, consumer: &Arc<Consumer>, request: &Request) -> Result<(), Refused> {
        if consumer.pattern.as_str() != request.pattern {
            return Err(Refused::Invalid(format!(
                "{:?} reads {:?}: delete it first, or choose another name",
                request.name,
                consumer.pattern.as_str()
            )));
        }
        let mut state = consumer.state.lock();
        let options = request.options.over(state.options);
        if options != state.options {
            state.options = options;
            self.note_change(consumer, &mut state);
            consumer.wake.notify_one();
        }
        Ok(())
    }

    fn make(
        &self,
        key: Key,
        session: &Session,
        pattern: Pattern,
        request: &Request,
    ) -> Result<Arc<Consumer>, Refused> {
        let logs = self.logs_of(&pattern);
        if logs.is_empty() {
            return Err(Refused::Invalid(format!(
                "no log keeps topics of {:?}, and a consumer reads logs: see [[log]] in the configuration",
                request.pattern
            )));
        }
        let begin = Begin {
            options: request.options.over(Options::default()),
            windows: logs.iter().map(|log| Window::new(log.oldest())).collect(),
            gaps: vec![None; logs.len()],
            active_us: now_us(),
            redelivered: 0,
            missed: 0,
        };
        let id = ulid::Ulid::generate().to_string().into();
        let maker = Arc::clone(&session.principal.name);
        Ok(Arc::new(self.build(id, key, maker, pattern, logs, begin)))
    }

    /// Finds where a new one begins, at the very moment at which its record goes to the disk.
    fn write_new(
        &self,
        consumer: &Arc<Consumer>,
        since: &Since,
        oldest: &mut Places,
    ) -> Result<oneshot::Receiver<Result<(), StoreError>>, Refused> {
        let mut locked = consumer.state.lock();
        let state = &mut *locked;
        let (done, durable) = oneshot::channel();
        self.store.writer().submit(|queue| {
            for (at, log) in consumer.logs.iter().enumerate() {
                let (next, gap) = begin(log, since, queue, oldest);
                if let Some((window, slot)) = state.windows.get_mut(at).zip(state.gaps.get_mut(at)) {
                    (*window, *slot) = (Window::new(next), gap);
                }
            }
            let value = serde_json::to_vec(&consumer.record(state)).unwrap_or_default();
            let value = StateValue { bytes: Bytes::from(value), expires_us: None };
            queue.state(&self.space, consumer.id.as_bytes().to_vec(), Some(value));
            // Nobody waits any more if the connection has ended.
            queue.on_durable(Box::new(move |result| drop(done.send(result))));
        })?;
        let cursors: Vec<u64> = state.windows.iter().map(Window::cursor).collect();
        consumer.set_holds(Some(&cursors));
        state.keeping.cursors = cursors;
        Ok(durable)
    }
}

/// The first offset to read, and what is known to be missing before it. Where something is missing, or the place is
/// unknown, the first place that comes is noted in `oldest`.
pub(super) fn begin(
    log: &Log,
    since: &Since,
    queue: &Queue,
    oldest: &mut Places,
) -> (u64, Option<Range<u64>>) {
    match since {
        Since::Now => (queue.next_offset(log.index()), None),
        Since::Start => (log.oldest(), None),
        Since::Places(places) => match places.0.get(log.name()) {
            None => (log.oldest(), None),
            Some((epoch, offset)) => match log.resume(*epoch, *offset) {
                Resume::Recovered => (offset + 1, None),
                Resume::Lost { oldest: first } => {
                    oldest.saw(log.name(), log.epoch_of(first), first);
                    let after = offset.saturating_add(1);
                    (first, (after < first).then_some(after..first))
                }
            },
        },
    }
}

/// The window in a log, if the log is still the one that was read.
fn settle(id: &str, log: &Log, at: &LogRecord) -> (Window, Option<Range<u64>>) {
    let gap = at.gap.map(|(from, to)| from..to);
    let oldest = log.oldest();
    let seen = at.next.checked_sub(1);
    let same = seen.is_none_or(|last| {
        // What retention took is no reason to doubt the rest.
        last < oldest || log.resume(at.epoch, last) == Resume::Recovered
    });
    if same {
        return (at.window(), gap);
    }
    tracing::warn!(id, log = %log.name(), next = at.next, oldest, "the log has lost the place of a consumer: it begins at the oldest message");
    (Window::new(oldest), gap)
}

/// Nobody could read while the router was down.
fn earliest_active(options: Options) -> u64 {
    let since = options.expires_after.saturating_sub(GRACE);
    now_us().saturating_sub(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// What a consumer's maker may call it. Names that are refused here are those of sessions, which nobody else can take.
pub fn check_name(name: &str) -> Result<(), Refused> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    let shown = name.get(..name.floor_char_boundary(NAME_BYTES)).unwrap_or_default();
    Err(Refused::Invalid(format!(
        "the name {shown:?} cannot be used: accepted are 1 to {NAME_BYTES} of A-Z a-z 0-9 _ . -"
    )))
}
