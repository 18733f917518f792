//! What each binding may take, how much of it it took, how often it wanted more, and what it did without a grant.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::config::PluginLimits;

/// What is limited. Times are counted in microseconds and shown in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Wall-clock time of one call.
    Deadline,
    /// Wall-clock time of instantiation and `init`.
    InitDeadline,
    /// Wall-clock time of one call of a storage plugin.
    StoreDeadline,
    /// Linear memory of one instance.
    MemoryBytes,
    /// Elements of one instance's tables.
    TableElements,
    /// Stack of one call. Its use is not measured.
    StackBytes,
    /// Bytes copied to the host in one call. Its use is not measured.
    HostcallBytes,
    /// Size of the component.
    FileBytes,
    /// Bytes that one call returned.
    OutputBytes,
    /// Messages that one call returned.
    OutputMessages,
    /// Keys and values in `state`, now.
    StateBytes,
    /// Log lines within a second.
    LogLinesPerS,
}

/// In the order of the enum, under the names that the limits have in weir.toml.
const LIMITS: [(Limit, &str); 12] = [
    (Limit::Deadline, "deadline"),
    (Limit::InitDeadline, "init_deadline"),
    (Limit::StoreDeadline, "store_deadline"),
    (Limit::MemoryBytes, "memory_bytes"),
    (Limit::TableElements, "table_elements"),
    (Limit::StackBytes, "stack_bytes"),
    (Limit::HostcallBytes, "hostcall_bytes"),
    (Limit::FileBytes, "file_bytes"),
    (Limit::OutputBytes, "output_bytes"),
    (Limit::OutputMessages, "output_messages"),
    (Limit::StateBytes, "state_bytes"),
    (Limit::LogLinesPerS, "log_lines_per_s"),
];

/// What a binding must be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// A topic that its publisher may not publish to.
    Emit,
    /// Somewhere to post to.
    Post,
    /// Accounts of a realm.
    Accounts,
    /// Functions of the host.
    Imports,
}

/// In the order of the enum, under the names of the keys that grant them.
const GRANTED: [(Granted, &str); 4] = [
    (Granted::Emit, "emit"),
    (Granted::Post, "post"),
    (Granted::Accounts, "accounts"),
    (Granted::Imports, "imports"),
];

impl Limit {
    /// The key in weir.toml.
    pub fn as_str(self) -> &'static str {
        LIMITS.get(self as usize).map_or("", |(_, name)| name)
    }

    fn is_time(self) -> bool {
        matches!(self, Self::Deadline | Self::InitDeadline | Self::StoreDeadline)
    }

    fn is_measured(self) -> bool {
        !matches!(self, Self::StackBytes | Self::HostcallBytes)
    }

    /// As it is shown.
    #[expect(clippy::cast_precision_loss, reason = "a gauge; 52 bits are enough for bytes and microseconds")]
    fn shown(self, value: u64) -> f64 {
        if self.is_time() { Duration::from_micros(value).as_secs_f64() } else { value as f64 }
    }

    fn of(self, limits: &PluginLimits) -> u64 {
        let time = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let size = match self {
            Self::Deadline => return time(limits.deadline),
            Self::InitDeadline => return time(limits.init_deadline),
            Self::StoreDeadline => return time(limits.store_deadline),
            Self::LogLinesPerS => return limits.log_lines_per_s.into(),
            Self::MemoryBytes => limits.memory_bytes,
            Self::TableElements => limits.table_elements,
            Self::StackBytes => limits.stack_bytes,
            Self::HostcallBytes => limits.hostcall_bytes,
            Self::FileBytes => limits.file_bytes,
            Self::OutputBytes => limits.output_bytes,
            Self::OutputMessages => limits.output_messages,
            Self::StateBytes => limits.state_bytes,
        };
        size as u64
    }
}

impl Granted {
    /// The key of a binding that grants it.
    pub fn as_str(self) -> &'static str {
        GRANTED.get(self as usize).map_or("", |(_, name)| name)
    }
}

/// Counted for as long as the router knows the binding, over all of its versions.
#[derive(Debug, Default)]
struct Counted {
    hits: [AtomicU64; LIMITS.len()],
    passed: [AtomicU64; GRANTED.len()],
    refused: [AtomicU64; GRANTED.len()],
}

/// What one load of a binding may take and what it took.
#[derive(Debug, Default)]
pub struct PluginUse {
    most: [u64; LIMITS.len()],
    used: [AtomicU64; LIMITS.len()],
    /// Kept by whoever holds the state.
    state: Arc<AtomicU64>,
    counted: Arc<Counted>,
}

impl PluginUse {
    /// Notes a use. All that a call pays for it is a look, unless it is the highest so far.
    pub fn note(&self, limit: Limit, used: u64) {
        if let Some(highest) = self.used.get(limit as usize)
            && used > highest.load(Ordering::Relaxed)
        {
            highest.fetch_max(used, Ordering::Relaxed);
        }
    }

    /// Notes a time.
    pub fn took(&self, limit: Limit, time: Duration) {
        self.note(limit, u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// More was wanted.
    pub fn hit(&self, limit: Limit) {
        count(&self.counted.hits, limit as usize);
    }

    /// Something was done, or only wanted, without a grant. Its number among those that went the same way.
    pub fn ungranted(&self, what: Granted, passed: bool) -> u64 {
        count(if passed { &self.counted.passed } else { &self.counted.refused }, what as usize)
    }

    fn used(&self, limit: Limit) -> u64 {
        let cell =
            if limit == Limit::StateBytes { Some(&*self.state) } else { self.used.get(limit as usize) };
        cell.map_or(0, |cell| cell.load(Ordering::Relaxed))
    }
}

fn count(cells: &[AtomicU64], at: usize) -> u64 {
    cells.get(at).map_or(0, |cell| cell.fetch_add(1, Ordering::Relaxed) + 1)
}

/// Every binding that is known.
#[derive(Debug, Default)]
pub(super) struct Plugins {
    known: Mutex<BTreeMap<String, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    counted: Arc<Counted>,
    live: Option<Arc<PluginUse>>,
}

impl Plugins {
    pub(super) fn open(&self, plugin: &str, limits: &PluginLimits, state: Arc<AtomicU64>) -> Arc<PluginUse> {
        let counted = Arc::clone(&self.known.lock().entry(plugin.to_owned()).or_default().counted);
        let most = LIMITS.map(|(limit, _)| limit.of(limits));
        Arc::new(PluginUse { most, used: Default::default(), state, counted })
    }

    pub(super) fn show(&self, plugin: &str, live: &Arc<PluginUse>) {
        self.known.lock().entry(plugin.to_owned()).or_default().live = Some(Arc::clone(live));
    }

    pub(super) fn retain(&self, stays: impl Fn(&str) -> bool) {
        self.known.lock().retain(|name, _| stays(name));
    }
}

impl Collector for Plugins {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let known = self.known.lock();
        let live = || known.iter().filter_map(|(name, known)| Some((name, known.live.as_ref()?)));
        let limits = "What a plugin may take: bytes, seconds, elements, messages, lines";
        let mut family = out.encode_descriptor("plugin_limit", limits, None, MetricType::Gauge)?;
        for (name, live) in live() {
            for ((limit, label), most) in LIMITS.iter().zip(&live.most) {
                let labels = [("plugin", name.as_str()), ("limit", *label)];
                family.encode_family(&labels)?.encode_gauge(&limit.shown(*most))?;
            }
        }
        let used = "The most of it that the live version took; of state, what it takes now";
        let mut family = out.encode_descriptor("plugin_limit_used", used, None, MetricType::Gauge)?;
        for (name, live) in live() {
            for (limit, label) in LIMITS.iter().filter(|(limit, _)| limit.is_measured()) {
                let labels = [("plugin", name.as_str()), ("limit", *label)];
                family.encode_family(&labels)?.encode_gauge(&limit.shown(live.used(*limit)))?;
            }
        }
        let hits = "How often a plugin wanted more of it";
        let mut family = out.encode_descriptor("plugin_limit_hits", hits, None, MetricType::Counter)?;
        for (name, known) in known.iter() {
            for ((_, label), hits) in LIMITS.iter().zip(&known.counted.hits) {
                let labels = [("plugin", name.as_str()), ("limit", *label)];
                let hits = hits.load(Ordering::Relaxed);
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&hits, None)?;
            }
        }
        let ungranted = "What a plugin did (count-only) or wanted to do without a grant";
        let mut family = out.encode_descriptor("plugin_ungranted", ungranted, None, MetricType::Counter)?;
        for (name, known) in known.iter() {
            for (result, cells) in [("passed", &known.counted.passed), ("refused", &known.counted.refused)] {
                for ((_, grant), count) in GRANTED.iter().zip(cells) {
                    let count = count.load(Ordering::Relaxed);
                    if count > 0 {
                        let labels = [("plugin", name.as_str()), ("grant", *grant), ("result", result)];
                        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_shown_under_its_own_name() {
        for (place, (limit, name)) in LIMITS.iter().enumerate() {
            assert_eq!((*limit as usize, limit.as_str()), (place, *name));
        }
        for (place, (granted, name)) in GRANTED.iter().enumerate() {
            assert_eq!((*granted as usize, granted.as_str()), (place, *name));
        }
    }

    #[test]
    fn hits_outlive_a_version_and_use_does_not() {
        let plugins = Plugins::default();
        let limits = PluginLimits::default();
        let first = plugins.open("a", &limits, Arc::default());
        plugins.show("a", &first);
        first.took(Limit::Deadline, Duration::from_millis(7));
        first.took(Limit::Deadline, Duration::from_millis(5));
        first.hit(Limit::MemoryBytes);
        assert!((Limit::Deadline.shown(first.used(Limit::Deadline)) - 0.007).abs() < 1e-9);
        let second = plugins.open("a", &limits, Arc::new(AtomicU64::new(9)));
        assert_eq!((second.used(Limit::Deadline), second.used(Limit::StateBytes)), (0, 9));
        assert_eq!(second.counted.hits[Limit::MemoryBytes as usize].load(Ordering::Relaxed), 1);
    }
}
