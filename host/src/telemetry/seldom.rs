//! Lines that anybody can bring about, and that shall not fill the log.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Between two lines.
const PERIOD: Duration = Duration::from_secs(60);

/// One place of the program that writes a line at most once a minute.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Nothing was written yet.
    pub const fn new() -> Self {
        Self(parking_lot::const_mutex(None))
    }

    /// Whether a line may be written now; then it counts as written.
    pub fn is_due(&self) -> bool {
        let mut last = self.0.lock();
        let due = last.is_none_or(|at| at.elapsed() >= PERIOD);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_stands_for_all_of_a_minute() {
        let seldom = Seldom::new();
        assert!(seldom.is_due());
        assert!(!seldom.is_due());
        *seldom.0.lock() = Instant::now().checked_sub(PERIOD);
        assert!(seldom.is_due());
    }
}
