//! What tenta's sensors publish, and the rules of tenta's server and of hermes' for it, byte by byte: both plugins read
//! messages with this.
//!
//! ```
//! use weir_tenta_messages::{Flavour, Kind, read};
//!
//! let (kind, sensor) = Kind::of("base/measurements/s1").unwrap();
//! assert_eq!((kind, sensor), (Kind::Measurements, "s1"));
//! assert!(read(kind, Flavour::Tenta, br#"[{"value": {"celsius": NaN}, "timestamp": 1.5}]"#).is_ok());
//! let malformed = read(kind, Flavour::Tenta, br#"[{"value": {}, "timestamp": 1.5}]"#).unwrap_err();
//! assert_eq!(malformed.to_string(), "must have at least one attribute at /0/value");
//! ```

mod json;
mod malformed;
mod rules;
mod time;

pub use malformed::Malformed;
pub use rules::{Acknowledgment, Flavour, Log, Measurement, Said, Severity, read};
pub use time::Timestamp;

/// What a message is about: the last level of its topic but one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers.
    Measurements,
    /// Lines for people.
    Logs,
    /// What became of a configuration.
    Acknowledgments,
}

impl Kind {
    /// The kind and the sensor's identifier. None: the topic is none of a sensor's.
    pub fn of(topic: &str) -> Option<(Self, &str)> {
        let (rest, sensor) = topic.rsplit_once('/')?;
        let kind = match rest.rsplit_once('/').map_or(rest, |(_, kind)| kind) {
            "measurements" => Self::Measurements,
            "logs" => Self::Logs,
            "acknowledgments" => Self::Acknowledgments,
            _ => return None,
        };
        Some((kind, sensor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_levels_say_what_it_is() {
        assert_eq!(Kind::of("logs/s1"), Some((Kind::Logs, "s1")));
        assert_eq!(Kind::of("a/b/acknowledgments/s1"), Some((Kind::Acknowledgments, "s1")));
        assert_eq!(Kind::of("/measurements/"), Some((Kind::Measurements, "")));
        for other in ["", "logs", "logs/a/b", "Logs/s1", "configurations/s1", "xlogs/s1"] {
            assert_eq!(Kind::of(other), None, "{other}");
        }
    }
}
