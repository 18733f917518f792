//! So many lines a second: what is beyond is counted, and told with the next line that is written.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::message::now_us;

/// Lets so many lines a second through, and one of several equal ones that follow each other within a second.
#[derive(Debug)]
pub struct LineGate {
    per_second: u32,
    window: Mutex<Window>,
    left_out: AtomicU64,
}

#[derive(Debug, Default)]
struct Window {
    second: u64,
    lines: u32,
    last: String,
}

/// Whether a line is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It is.
    Write {
        /// Lines of this second, with this one.
        lines: u32,
        /// How many were one too many since the last one that was written.
        left_out: u64,
    },
    /// The line before says the same.
    Again,
    /// It is one too many.
    TooMany,
}

impl LineGate {
    /// A gate that nothing has passed yet.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, window: Mutex::default(), left_out: AtomicU64::new(0) }
    }

    /// Counts a line.
    pub fn pass(&self, text: &str) -> Passage {
        let second = now_us() / 1_000_000;
        let mut window = self.window.lock();
        if window.second != second {
            *window = Window { second, ..Window::default() };
        }
        if window.last == text {
            return Passage::Again;
        }
        if window.lines >= self.per_second {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return Passage::TooMany;
        }
        window.lines += 1;
        text.clone_into(&mut window.last);
        Passage::Write { lines: window.lines, left_out: self.left_out.swap(0, Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(gate: &LineGate, lines: impl Iterator<Item = String>) -> usize {
        lines.filter(|line| matches!(gate.pass(line), Passage::Write { .. })).count()
    }

    #[test]
    fn what_is_beyond_is_left_out_and_counted() {
        let gate = LineGate::new(2);
        let passed = written(&gate, (0..5).map(|n| format!("line {n}")));
        assert!((2..=4).contains(&passed), "two a second, even when the second changes in between");
        assert_eq!(gate.left_out.load(Ordering::Relaxed) + passed as u64, 5);
    }

    #[test]
    fn equal_lines_one_after_the_other_are_one() {
        let gate = LineGate::new(100);
        assert!(written(&gate, (0..3).map(|_| "open to everyone".to_owned())) <= 2);
    }
}
