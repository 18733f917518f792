//! Opening a log: what the newest segment tells, and what to do when it cannot be believed.

use std::collections::{HashMap, VecDeque};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::watch;

use super::super::chunk;
use super::super::database::{Database, set_aside, sync_dir};
use super::super::epochs::{Carried, Epochs};
use super::super::error::{Incidents, StoreError};
use super::super::keys;
use super::super::segment::{self, Sealed, Segment};
use super::super::witness;
use super::{Appender, Inner, Log, LogOptions, View};
use crate::message::now_us;

/// Name of the witness of a clean close, in the log's folder.
pub(super) const CLEAN: &str = "clean";

/// Opens or creates the log in `logs/NAME`.
pub(in super::super) fn open(
    logs: &Path,
    index: usize,
    options: LogOptions,
    cache_bytes: u64,
    incidents: Arc<Incidents>,
) -> Result<(Log, Appender), StoreError> {
    let dir = logs.join(&*options.name);
    std::fs::create_dir_all(&dir).map_err(|error| StoreError::io(&dir, &error))?;
    sync_dir(logs)?;
    let mut firsts = segment::list(&dir)?;
    let closed = witness::take(&dir.join(CLEAN))?;
    let mut settling = Settling {
        dir: &dir,
        cache_bytes,
        incidents: &incidents,
        promised: closed.map(|[next, _]| next),
        lost: None,
    };
    // A log that lost all its segments goes on above the offsets that it has given.
    let floor = firsts.last().copied().unwrap_or(0);
    let none = firsts.is_empty();
    let (active, carried, next) = match settling.newest(&mut firsts)? {
        Some(found) => found,
        None => {
            let floor = settling.promised.map_or(floor, |promised| promised.max(floor));
            let mut epochs = Epochs::default();
            epochs.begin(floor, floor);
            let carried = Carried { epochs, ..Carried::default() };
            let (active, carried) = create(&dir, floor, carried, cache_bytes)?;
            settling.lost = closed.filter(|_| none).map(|[next, oldest]| oldest..next);
            (active, carried, floor)
        }
    };
    let lost = settling.lost;
    let missing = missing(&firsts, &carried, active.first, closed.map(|[_, oldest]| oldest));
    let created_us = carried.birth.map_or_else(now_us, |(_, created)| created);
    let view = View {
        sealed: sealed_segments(&dir, &firsts, &carried, active.first, cache_bytes),
        active: Arc::new(active),
        epochs: carried.epochs,
    };
    let log = handle(index, options, dir, cache_bytes, incidents, view, next);
    for range in missing {
        log.0.report_damage(&range, "their segment is missing on the disk");
    }
    if let Some(lost) = lost {
        log.0.report_damage(&lost, "the log was longer, and its end is missing on the disk");
    }
    let appender = Appender::new(log.clone(), next, created_us);
    Ok((log, appender))
}

fn handle(
    index: usize,
    options: LogOptions,
    dir: PathBuf,
    cache_bytes: u64,
    incidents: Arc<Incidents>,
    view: View,
    next: u64,
) -> Log {
    Log(Arc::new(Inner {
        index,
        options,
        dir,
        cache_bytes,
        incidents,
        changing: Mutex::new(()),
        opened_at: next,
        epoch: AtomicU64::new(view.epochs.current()),
        assigned: AtomicU64::new(next),
        durable: watch::Sender::new(next),
        mark: Mutex::new(next),
        moved: Condvar::new(),
        holds: Mutex::new(HashMap::new()),
        known: Mutex::default(),
        reading: Mutex::new(VecDeque::new()),
        view: RwLock::new(Arc::new(view)),
    }))
}

/// Finding where a log goes on.
struct Settling<'a> {
    dir: &'a Path,
    cache_bytes: u64,
    incidents: &'a Incidents,
    /// Messages below this offset were kept, as is known from elsewhere than the segment.
    promised: Option<u64>,
    /// Those of them that no segment has.
    lost: Option<Range<u64>>,
}

impl Settling<'_> {
    /// The newest segment that can be used, and the log's next offset; `firsts` keeps the older ones.
    fn newest(&mut self, firsts: &mut Vec<u64>) -> Result<Option<(Segment, Carried, u64)>, StoreError> {
        while let Some(first) = firsts.pop() {
            let segment = Segment::new(self.dir, first, self.cache_bytes);
            match self.load(&segment) {
                Ok(Some((carried, next))) => return Ok(Some((segment, carried, next))),
                // The crash came while it was being made: nothing was ever written to it.
                Ok(None) => segment.delete()?,
                Err(error) if error.is_corrupt() => {
                    segment.release();
                    set_aside(segment.dir(), &error, self.incidents)?;
                    // Made for a message, so that there was one at least, if nothing better is known.
                    self.promised = self.promised.or(Some(first + 1));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// A segment's own records, and where it goes on; none when it was never finished being made.
    fn load(&mut self, segment: &Segment) -> Result<Option<(Carried, u64)>, StoreError> {
        if !segment.is_there() && self.promised.is_none() {
            return Ok(None);
        }
        let Some(database) = segment.database()? else { return Ok(None) };
        let mut carried = database.tree(keys::META, Carried::read)??;
        if carried.birth.is_none() {
            // A clean close leaves no segment half made, and such a one has no messages.
            let damaged = self.promised.is_some() || !chunk::is_empty(&database)?;
            let error = StoreError::corrupt(segment.dir(), "its first record is missing");
            return if damaged { Err(error) } else { Ok(None) };
        }
        let next = self.settle(&database, segment.first, &mut carried)?;
        Ok(Some((carried, next)))
    }

    /// Finds where the log goes on: after a clean close in the same life, else in a new one.
    fn settle(&mut self, database: &Database, first: u64, carried: &mut Carried) -> Result<u64, StoreError> {
        let recovered = recovered_next(database, first, self.incidents)?;
        let promised = carried.clean.take().max(self.promised);
        let began = carried.epochs.0.last().map_or(first, |span| span.first);
        let next = match promised {
            // A life in which nothing was written has nothing to miss; what is lost of those before was told then.
            Some(promised) if promised == recovered || (promised > recovered && began >= promised) => {
                promised
            }
            Some(promised) if promised > recovered => {
                // The life that ends keeps what it should have, so that its readers are told what is missing.
                carried.epochs.begin(promised, promised);
                self.lost = Some(recovered..promised);
                promised
            }
            _ => {
                carried.epochs.begin(recovered, recovered);
                recovered
            }
        };
        database.tree(keys::META, |tree| carried.write(tree))?;
        database.sync()?;
        Ok(next)
    }
}

/// Offsets of sealed segments that are known of and not there. Retention took the folders of those before `oldest`; when
/// that is not known, before the oldest that is there.
fn missing(firsts: &[u64], carried: &Carried, active: u64, oldest: Option<u64>) -> Vec<Range<u64>> {
    let oldest = oldest.or(firsts.first().copied()).unwrap_or(active);
    let sealed = carried.sealed.iter().filter(|(first, _)| *first >= oldest && *first < active);
    let gone = sealed.filter(|(first, _)| firsts.binary_search(first).is_err());
    gone.map(|(first, sealed)| *first..sealed.next).collect()
}

/// The offset after the last pack that reads. What a crash left half written behind it is removed.
pub(super) fn recovered_next(
    database: &Database,
    first: u64,
    incidents: &Incidents,
) -> Result<u64, StoreError> {
    loop {
        let mut last = None;
        chunk::backward(database, u64::MAX, &mut |found| {
            last = Some(found);
            ControlFlow::Break(())
        })?;
        match last {
            None => return Ok(first),
            Some(Ok(pack)) => return Ok(pack.next()),
            Some(Err(damage)) => {
                let place = database.dir().display();
                incidents.report(format!(
                    "{place}: the last pack, at offset {}, was cut off: {}; removed",
                    damage.first, damage.reason
                ));
                chunk::remove(database, damage.first)?;
            }
        }
    }
}

/// Makes a segment that begins at `first` and knows what `carried` says.
pub(super) fn create(
    dir: &Path,
    first: u64,
    mut carried: Carried,
    cache_bytes: u64,
) -> Result<(Segment, Carried), StoreError> {
    let segment = Segment::new(dir, first, cache_bytes);
    let database = segment.create()?;
    carried.birth = Some((first, now_us()));
    carried.clean = None;
    database.tree(keys::META, |tree| carried.write(tree))?;
    database.sync()?;
    sync_dir(segment.dir())?;
    sync_dir(dir)?;
    Ok((segment, carried))
}

/// The sealed segments that are on the disk, with what the newest one knows of them.
fn sealed_segments(
    dir: &Path,
    firsts: &[u64],
    carried: &Carried,
    active: u64,
    cache_bytes: u64,
) -> Vec<(Arc<Segment>, Sealed)> {
    let nexts = firsts.iter().skip(1).copied().chain([active]);
    let with_summary = firsts.iter().zip(nexts).map(|(first, next)| {
        let segment = Arc::new(Segment::new(dir, *first, cache_bytes));
        let known = carried.sealed.iter().find(|(at, _)| at == first).map(|(_, sealed)| *sealed);
        // Its successor was lost: then it is as young as now, rather kept too long than too short.
        let sealed = known.unwrap_or_else(|| Sealed { next, newest_us: now_us(), bytes: segment.bytes() });
        (segment, sealed)
    });
    with_summary.collect()
}
