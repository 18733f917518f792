//! Opening a log: what the newest segment tells, and what to do when it cannot be believed.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
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
use super::{Appender, Inner, Log, LogOptions, View};
use crate::message::now_us;

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
    // A log that lost all its segments goes on above the offsets that it has given.
    let floor = firsts.last().copied().unwrap_or(0);
    let (active, carried, next) = match newest(&dir, &mut firsts, cache_bytes, &incidents)? {
        Some((active, mut carried)) => {
            let next = settle(&active, &mut carried, &incidents)?;
            (active, carried, next)
        }
        None => {
            let mut epochs = Epochs::default();
            epochs.begin(floor, floor);
            let carried = Carried { epochs, ..Carried::default() };
            let (active, carried) = create(&dir, floor, carried, cache_bytes)?;
            (active, carried, floor)
        }
    };
    let created_us = carried.birth.map_or_else(now_us, |(_, created)| created);
    let view = View {
        sealed: sealed_segments(&dir, &firsts, &carried, active.first, cache_bytes),
        active: Arc::new(active),
        epochs: carried.epochs,
    };
    let log = handle(index, options, dir, cache_bytes, incidents, view, next);
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
        reading: Mutex::new(VecDeque::new()),
        view: RwLock::new(Arc::new(view)),
    }))
}

/// The newest segment that can be opened; `firsts` keeps the older ones.
fn newest(
    dir: &Path,
    firsts: &mut Vec<u64>,
    cache_bytes: u64,
    incidents: &Incidents,
) -> Result<Option<(Segment, Carried)>, StoreError> {
    while let Some(first) = firsts.pop() {
        let segment = Segment::new(dir, first, cache_bytes);
        match load(&segment) {
            Ok(Some(carried)) => return Ok(Some((segment, carried))),
            // The crash came while it was being made: nothing was ever written to it.
            Ok(None) => segment.delete()?,
            Err(error) if error.is_corrupt() => {
                segment.release();
                set_aside(segment.dir(), &error, incidents)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// A segment's own records; none when it was never finished being made.
fn load(segment: &Segment) -> Result<Option<Carried>, StoreError> {
    let Some(database) = segment.database()? else { return Ok(None) };
    let carried = database.tree(keys::META, Carried::read)??;
    Ok(carried.birth.is_some().then_some(carried))
}

/// Finds where the log goes on: after a clean close in the same life, else in a new one.
fn settle(active: &Segment, carried: &mut Carried, incidents: &Incidents) -> Result<u64, StoreError> {
    let Some(database) = active.database()? else { return Err(StoreError::Closed) };
    let recovered = recovered_next(&database, active.first, incidents)?;
    let next = match carried.clean.take() {
        Some(clean) if clean >= recovered => clean,
        _ => {
            carried.epochs.begin(recovered, recovered);
            recovered
        }
    };
    database.tree(keys::META, |tree| carried.write(tree))?;
    database.sync()?;
    Ok(next)
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
    let Some(database) = segment.database()? else { return Err(StoreError::Closed) };
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
