use std::time::Duration;

/// A point in time: Unix microseconds.
///
/// There is no `now` on purpose: a message's own time ([`crate::Message::received`]) gives the same result
/// when the message is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// From Unix microseconds.
    pub const fn from_micros(us: u64) -> Self {
        Self(us)
    }

    /// Unix microseconds.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// As text in UTC: `2026-11-21T08:00:00.123456Z`.
    pub fn rfc3339(self) -> String {
        weir_contract::time::rfc3339(self.0)
    }

    /// Reads RFC 3339 text of the years 1970 to 9999, with any offset: `2026-11-21T09:00:00+01:00`.
    pub fn parse(rfc3339: &str) -> Option<Self> {
        weir_contract::time::parse_rfc3339(rfc3339).map(Self)
    }

    /// This much later; never wraps.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }

    /// This much earlier; never before 1970.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros(span)))
    }

    /// The start of the span that it falls into, counted from 1970: the hour for an hour. A span of 0 gives
    /// the time itself.
    #[must_use]
    pub fn bucket(self, span: Duration) -> Self {
        match self.0.checked_rem(micros(span)) {
            Some(rest) => Self(self.0 - rest),
            None => self,
        }
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.rfc3339())
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_and_spans() {
        let time = Time::from_micros(1_795_251_600_000_000 + 61_000_000);
        assert_eq!(time.bucket(Duration::from_secs(60)).micros(), 1_795_251_660_000_000);
        assert_eq!(time.bucket(Duration::ZERO), time);
        assert_eq!(time.after(Duration::MAX).micros(), u64::MAX);
        assert_eq!(time.before(Duration::MAX).micros(), 0);
        assert_eq!(Time::parse(&time.rfc3339()), Some(time));
    }
}
