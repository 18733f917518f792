//! Configurations of sensors, on the disk. All numbers in keys are big-endian.
//!
//! ```text
//! "m" sensor [16] revision u32            → {"v":1,"created_us","published_us","parts"}
//! "t" sensor [16] revision u32 part u16   → a part of the value, which is JSON text
//! "u" sensor [16] revision u32            → empty: it is not published yet
//! ```

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Id;
use crate::accounts::Change;
use crate::store::Table;

/// The highest revision, as the original has it.
pub const MOST_REVISION: u32 = (1 << 31) - 1;

/// Bytes of a part: the store takes no longer values in one place.
const PART_BYTES: usize = 16 * 1024;
/// Records of a sensor that are deleted in one step.
const FORGET: usize = 1_000;
/// The only format so far.
const VERSION: u32 = 1;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Of its sensor, from 0 on.
    pub revision: u32,
    /// One JSON object.
    pub value: String,
    /// Unix microseconds.
    pub created_us: u64,
    /// Unix microseconds; none = it is not published yet.
    pub published_us: Option<u64>,
}

/// A configuration that is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publishable {
    /// To whom.
    pub sensor: Id,
    /// Which.
    pub revision: u32,
    /// One JSON object.
    pub value: String,
}

#[derive(Serialize, Deserialize)]
struct Meta {
    v: u32,
    created_us: u64,
    published_us: Option<u64>,
    parts: u16,
}

/// All of them.
pub(in crate::accounts) struct Configurations {
    table: Table,
    /// Grows with each that is to be published.
    waiting: watch::Sender<u64>,
}

impl Configurations {
    pub(super) fn open(table: Table) -> Self {
        Self { table, waiting: watch::Sender::new(0) }
    }

    /// The highest revision of a sensor; none: it has no configuration.
    pub(super) fn newest(&self, sensor: Id) -> Result<Option<u32>, Failure> {
        let (from, to) = (key(b'm', sensor, 0), key(b'm', sensor, u32::MAX));
        let last = self.table.range(&from, &to, true, 1)?;
        last.first().map(|(key, _)| Ok(parse(key).ok_or("a record's name is damaged")?.1)).transpose()
    }

    /// The revision of a sensor's next configuration.
    pub(super) fn next(&self, sensor: Id) -> Result<u32, Failure> {
        match self.newest(sensor)? {
            None => Ok(0),
            Some(newest) if newest < MOST_REVISION => Ok(newest + 1),
            Some(newest) => Err(format!("revision {newest} is the last that a sensor may have").into()),
        }
    }

    pub(super) fn waiting(&self) -> watch::Receiver<u64> {
        self.waiting.subscribe()
    }

    /// Adds or replaces one. One that was published before may be published again.
    pub(super) fn put(&self, sensor: Id, kept: &Configuration, again: bool) -> Result<(), Failure> {
        let publish = again || kept.published_us.is_none();
        let parts: Vec<_> = kept.value.as_bytes().chunks(PART_BYTES).collect();
        let mut changes = self.without(sensor, kept.revision)?;
        for (number, part) in (0_u16..).zip(&parts) {
            changes.push((part_key(sensor, kept.revision, number), Some(part.to_vec())));
        }
        let parts = u16::try_from(parts.len()).map_err(|_| "the value is too long")?;
        let Configuration { created_us, published_us, .. } = *kept;
        let meta = serde_json::to_vec(&Meta { v: VERSION, created_us, published_us, parts })?;
        changes.push((key(b'm', sensor, kept.revision), Some(meta)));
        changes.push((key(b'u', sensor, kept.revision), publish.then(Vec::new)));
        self.table.change(&changes)?;
        if publish {
            self.waiting.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// What removes the parts of the value that is there.
    fn without(&self, sensor: Id, revision: u32) -> Result<Vec<Change>, Failure> {
        let Some(meta) = self.meta(sensor, revision)? else { return Ok(Vec::new()) };
        Ok((0..meta.parts).map(|part| (part_key(sensor, revision, part), None)).collect())
    }

    fn meta(&self, sensor: Id, revision: u32) -> Result<Option<Meta>, Failure> {
        self.table.get(&key(b'm', sensor, revision))?.map(|text| read(&text)).transpose()
    }

    pub(super) fn read(
        &self,
        sensor: Id,
        (above, below): (Option<u32>, Option<u32>),
        reverse: bool,
        most: usize,
    ) -> Result<Vec<Configuration>, Failure> {
        let from = above.map_or(0, |revision| revision.saturating_add(1));
        let (from, to) = (key(b'm', sensor, from), key(b'm', sensor, below.unwrap_or(u32::MAX)));
        let rows = self.table.range(&from, &to, reverse, most)?;
        let mut all = Vec::with_capacity(rows.len());
        for (key, meta) in rows {
            let (_, revision) = parse(&key).ok_or("a record's name is damaged")?;
            let Meta { created_us, published_us, parts, .. } = read(&meta)?;
            let value = self.value(sensor, revision, parts)?;
            all.push(Configuration { revision, value, created_us, published_us });
        }
        Ok(all)
    }

    fn value(&self, sensor: Id, revision: u32, parts: u16) -> Result<String, Failure> {
        let mut value = Vec::new();
        for part in 0..parts {
            let part = self.table.get(&part_key(sensor, revision, part))?;
            value.extend(part.ok_or("a part of a configuration is not there")?);
        }
        Ok(String::from_utf8(value)?)
    }

    pub(super) fn unpublished(
        &self,
        behind: Option<(Id, u32)>,
        most: usize,
    ) -> Result<Vec<Publishable>, Failure> {
        let from = behind.map_or_else(
            || vec![b'u'],
            |(sensor, revision)| {
                // The very next key.
                let mut key = key(b'u', sensor, revision);
                key.push(0);
                key
            },
        );
        let mut all = Vec::new();
        for (key, _) in self.table.range(&from, &[b'u' + 1], false, most)? {
            let (sensor, revision) = parse(&key).ok_or("a record's name is damaged")?;
            let Some(meta) = self.meta(sensor, revision)? else { continue };
            all.push(Publishable { sensor, revision, value: self.value(sensor, revision, meta.parts)? });
        }
        Ok(all)
    }

    /// The first time counts.
    pub(super) fn published(&self, sensor: Id, revision: u32, now_us: u64) -> Result<(), Failure> {
        let Some(meta) = self.meta(sensor, revision)? else { return Ok(()) };
        let meta = Meta { published_us: meta.published_us.or(Some(now_us)), ..meta };
        let kept = (key(b'm', sensor, revision), Some(serde_json::to_vec(&meta)?));
        Ok(self.table.change(&[kept, (key(b'u', sensor, revision), None)])?)
    }

    /// Deletes all of a sensor.
    pub(super) fn forget(&self, sensor: Id) -> Result<(), Failure> {
        for kind in [b'u', b't', b'm'] {
            let (from, to) = (key(kind, sensor, 0), end(kind, sensor));
            loop {
                let rows = self.table.range(&from, &to, false, FORGET)?;
                if rows.is_empty() {
                    break;
                }
                let gone: Vec<Change> = rows.into_iter().map(|(key, _)| (key, None)).collect();
                self.table.change(&gone)?;
            }
        }
        Ok(())
    }
}

fn read(text: &[u8]) -> Result<Meta, Failure> {
    let meta: Meta = serde_json::from_slice(text)?;
    if meta.v == VERSION { Ok(meta) } else { Err(format!("its format {} is not known", meta.v).into()) }
}

fn key(kind: u8, sensor: Id, revision: u32) -> Vec<u8> {
    [&[kind][..], &sensor.to_bytes(), &revision.to_be_bytes()].concat()
}

/// Behind all keys of a sensor: no revision is that high.
fn end(kind: u8, sensor: Id) -> Vec<u8> {
    key(kind, sensor, u32::MAX)
}

fn part_key(sensor: Id, revision: u32, part: u16) -> Vec<u8> {
    let mut key = key(b't', sensor, revision);
    key.extend(part.to_be_bytes());
    key
}

fn parse(key: &[u8]) -> Option<(Id, u32)> {
    let (sensor, rest) = key.get(1..)?.split_first_chunk::<16>()?;
    let (revision, _) = rest.split_first_chunk::<4>()?;
    Some((Id::from_bytes(*sensor), u32::from_be_bytes(*revision)))
}
