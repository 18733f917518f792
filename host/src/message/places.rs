//! Where a reader stands in several logs, and how it says so.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The last message seen of each log: epoch and offset by the log's name. At most [`Places::MOST`] logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(pub BTreeMap<Arc<str>, (u64, u64)>);

/// Where reading begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// With what is published from now on.
    #[default]
    Now,
    /// With the oldest message of every log.
    Start,
    /// Behind these places; logs that are not named, with their oldest message.
    Places(Places),
}

impl Places {
    /// More logs than a router is configured with.
    pub const MOST: usize = 256;

    /// Reads `LOG:EPOCH:OFFSET[,LOG:EPOCH:OFFSET…]`, each log once; the empty text is no place.
    pub fn parse(text: &str) -> Option<Self> {
        let mut places = BTreeMap::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let mut fields = part.trim().split(':');
            let (log, epoch, offset) = (fields.next()?, fields.next()?, fields.next()?);
            if log.is_empty() || fields.next().is_some() || places.len() >= Self::MOST {
                return None;
            }
            if places.insert(log.into(), (epoch.parse().ok()?, offset.parse().ok()?)).is_some() {
                return None;
            }
        }
        Some(Self(places))
    }

    /// Notes that a message of `log` was seen.
    pub fn saw(&mut self, log: &Arc<str>, epoch: u64, offset: u64) {
        match self.0.get_mut(log) {
            Some(place) => *place = (epoch, offset),
            None => drop(self.0.insert(Arc::clone(log), (epoch, offset))),
        }
    }
}

impl fmt::Display for Places {
    /// The text that [`Places::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, (log, (epoch, offset))) in self.0.iter().enumerate() {
            let comma = if count > 0 { "," } else { "" };
            write!(f, "{comma}{log}:{epoch}:{offset}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut places = Places::default();
        places.saw(&"a".into(), 1, 7);
        places.saw(&"b-1".into(), u64::MAX, 0);
        assert_eq!(places.to_string(), format!("a:1:7,b-1:{}:0", u64::MAX));
        assert_eq!(Places::parse(&places.to_string()), Some(places));
        assert_eq!(Places::parse(""), Some(Places::default()));
        for bad in ["a", "a:1", "a:1:x", "a:1:2:3", ":1:2", "a:-1:2", "a:1:2,a:1:3"] {
            assert_eq!(Places::parse(bad), None, "{bad}");
        }
    }
}
