//! What the logs hold, in numbers.

use serde::{Deserialize, Serialize};
use weir_contract::packed::{self, tag};

use super::{ExportError, Known, Logs};
use crate::store::{Log, ReadPage};

/// Answer of `GET /v1/logs`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogList {
    /// In the order of the configuration.
    pub logs: Vec<LogInfo>,
    /// What went wrong with anything on the disk since the start, oldest first, the newest 100.
    pub incidents: Vec<IncidentInfo>,
    /// Logs on the disk that the configuration does not name: kept, and not read.
    #[serde(default)]
    pub others: Vec<OtherLog>,
}

/// One line of `weir log list`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogInfo {
    /// Configured name.
    pub name: String,
    /// Configured patterns.
    pub topics: Vec<String>,
    /// It keeps messages as they came in, for the operator alone.
    #[serde(default)]
    pub record_input: bool,
    /// Number of segments.
    pub segments: usize,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Messages that can be read.
    pub messages: u64,
    /// Oldest offset that can be read; `next` when there is none.
    pub oldest: u64,
    /// The offset after the newest message on the disk.
    pub next: u64,
    /// The present life.
    pub epoch: u64,
    /// `max_age` in seconds.
    pub max_age_s: Option<u64>,
    /// `max_bytes`.
    pub max_bytes: Option<u64>,
    /// `max_messages`.
    pub max_messages: Option<u64>,
    /// Who reads it durably and keeps it from retention; known only while the router runs.
    pub consumers: Vec<ConsumerInfo>,
}

/// A durable reader of a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConsumerInfo {
    /// Storage binding or consumer.
    pub name: String,
    /// The next offset that it will take.
    pub next: u64,
    /// Messages before it at most.
    pub behind: u64,
}

/// A log on the disk that the configuration does not name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OtherLog {
    /// Name of its folder.
    pub name: String,
    /// Bytes on the disk.
    pub bytes: u64,
}

/// Answer of `GET /v1/logs/NAME`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogStat {
    /// As in the list.
    #[serde(flatten)]
    pub info: LogInfo,
    /// When the oldest message was received, Unix microseconds.
    pub oldest_us: Option<u64>,
    /// When the newest message was received, Unix microseconds.
    pub newest_us: Option<u64>,
    /// Bytes on the disk for each message.
    pub bytes_per_message: Option<u64>,
    /// The lives of which messages are kept, oldest first.
    pub epochs: Vec<EpochInfo>,
    /// As in the list, all of them: an incident may concern several logs.
    pub incidents: Vec<IncidentInfo>,
}

/// One life of a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EpochInfo {
    /// Unix millisecond of its beginning.
    pub epoch: u64,
    /// Its first offset.
    pub first: u64,
    /// The offset after its last one; none = it goes on.
    pub next: Option<u64>,
}

/// Something that went wrong with what is on the disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IncidentInfo {
    /// Unix microseconds.
    pub at_us: u64,
    /// What happened, to what, and where it is now.
    pub what: String,
}

impl Logs {
    /// All logs. Blocks.
    pub fn list(&self) -> LogList {
        let others = self.store.other_logs().into_iter().map(|(name, bytes)| OtherLog { name, bytes });
        LogList {
            logs: self.all().map(|known| known.info()).collect(),
            incidents: self.incidents(),
            others: others.collect(),
        }
    }

    /// One log. Blocks: it reads the oldest and the newest message.
    pub fn stat(&self, name: &str) -> Result<LogStat, ExportError> {
        let known = self.find(name)?;
        let (info, log) = (known.info(), known.log);
        let oldest = log.read(info.oldest, &|_| true, 1, 1)?;
        let newest = log.read_reverse(u64::MAX, &|_| true, 1, 1)?;
        let epochs = log.epochs().into_iter().map(|(epoch, range)| {
            let next = Some(range.end).filter(|next| *next != u64::MAX);
            EpochInfo { epoch, first: range.start, next }
        });
        Ok(LogStat {
            oldest_us: received(&oldest),
            newest_us: received(&newest),
            bytes_per_message: info.bytes.checked_div(info.messages),
            epochs: epochs.collect(),
            incidents: self.incidents(),
            info,
        })
    }

    fn incidents(&self) -> Vec<IncidentInfo> {
        let all = self.store.incidents().into_iter();
        all.map(|incident| IncidentInfo { at_us: incident.at_us, what: incident.what }).collect()
    }
}

fn received(page: &ReadPage) -> Option<u64> {
    packed::u64_of(&page.messages.first()?.message.meta, tag::RECEIVED_US)
}

impl Known<'_> {
    fn info(&self) -> LogInfo {
        let Self { log, rule } = self;
        let usage = log.usage();
        let consumer = |(name, next): (String, u64)| {
            let next = next.max(usage.oldest);
            ConsumerInfo { name, next, behind: messages(log, next, usage.next) }
        };
        LogInfo {
            name: rule.name.clone(),
            topics: rule.topics.clone(),
            record_input: rule.record_input,
            segments: usage.segments,
            bytes: usage.bytes,
            messages: messages(log, usage.oldest, usage.next),
            oldest: usage.oldest,
            next: usage.next,
            epoch: log.epoch(),
            max_age_s: rule.max_age.map(|age| age.as_secs()),
            max_bytes: rule.max_bytes,
            max_messages: rule.max_messages,
            consumers: log.holds().into_iter().map(consumer).collect(),
        }
    }
}

/// How many offsets in a range were given to messages that were kept: between two lives some may be left out.
fn messages(log: &Log, from: u64, next: u64) -> u64 {
    let lives = log.epochs().into_iter();
    lives.map(|(_, life)| life.end.min(next).saturating_sub(life.start.max(from))).sum()
}
