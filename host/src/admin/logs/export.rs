//! Messages out of a log, as lines of JSON, with no more memory than one page takes.

use serde::{Deserialize, Serialize};
use weir_contract::topic::Pattern;

use super::record;
use crate::store::{Log, StoreError};

/// Messages and bytes that are read at once.
const PAGE: (usize, usize) = (1_000, 1 << 20);

/// Which part of a log.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// First offset; none = from the oldest message.
    pub since: Option<u64>,
    /// The offset after the last one; none = up to the newest message at the time of the call.
    pub until: Option<u64>,
    /// Only topics that match; none = all.
    pub topic: Option<String>,
}

/// The last line of an export: a file without it was cut off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// How many messages.
    pub exported: u64,
    /// Offsets (first, and the one after the last) that could not be read.
    pub damaged: Vec<(u64, u64)>,
    /// Offsets that were asked for and are not kept any more.
    pub missed: Vec<(u64, u64)>,
}

impl Export {
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if let (Some(since), Some(until)) = (self.since, self.until)
            && until < since
        {
            return Err(format!("until {until} is before since {since}"));
        }
        self.topic.as_deref().map_or(Ok(()), Pattern::check).map_err(|error| format!("topic: {error}"))
    }

    /// As the query of a URL, `?` included.
    pub fn query(&self) -> String {
        let number = |key: &str, value: Option<u64>| value.map(|value| format!("{key}={value}"));
        let topic = self.topic.as_deref().map(|topic| {
            let topic = percent_encoding::utf8_percent_encode(topic, percent_encoding::NON_ALPHANUMERIC);
            format!("topic={topic}")
        });
        let all = [number("since", self.since), number("until", self.until), topic];
        format!("?{}", all.into_iter().flatten().collect::<Vec<_>>().join("&"))
    }

    pub(super) fn run(
        &self,
        log: &Log,
        write: &mut dyn FnMut(Vec<u8>) -> bool,
    ) -> Result<Exported, StoreError> {
        let pattern = self.topic.as_deref().and_then(|topic| Pattern::parse(topic).ok());
        let wanted = |topic: &str| pattern.as_ref().is_none_or(|pattern| pattern.matches(topic));
        let until = self.until.unwrap_or(u64::MAX).min(log.durable());
        let mut next = self.since.unwrap_or_else(|| log.oldest());
        let mut all = Exported::default();
        while next < until {
            let page = log.read(next, &wanted, PAGE.0, PAGE.1)?;
            let ranges = |of: &[std::ops::Range<u64>]| -> Vec<_> {
                of.iter().map(|range| (range.start, range.end.min(until))).collect()
            };
            all.damaged.extend(ranges(&page.damaged));
            all.missed.extend(ranges(page.missed.as_slice()));
            let mut chunk = Vec::new();
            for stored in page.messages.iter().take_while(|stored| stored.place.offset < until) {
                // Writing to memory cannot fail, and all fields are texts and numbers.
                if record::write(&mut chunk, stored).is_ok() {
                    all.exported += 1;
                }
            }
            next = page.next;
            if !chunk.is_empty() && !write(chunk) {
                return Ok(all);
            }
            if page.end {
                break;
            }
        }
        let mut last = serde_json::to_vec(&all).unwrap_or_default();
        last.push(b'\n');
        write(last);
        Ok(all)
    }
}
