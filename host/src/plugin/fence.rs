//! Where passes wait while the state that they touched is migrated. Raised for seconds at most, and seldom: who does
//! not meet a sealed space never looks at it.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};

/// The fence of all bindings.
#[derive(Debug, Default)]
pub struct Fence {
    raised: AtomicBool,
    lock: Mutex<()>,
    lowered: Condvar,
}

impl Fence {
    /// From now on, who meets a sealed space waits.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::Release);
    }

    /// Lets all that wait go on.
    pub fn lower(&self) {
        if self.raised.swap(false, Ordering::AcqRel) {
            // Taken, so that nobody is between its look and its wait.
            drop(self.lock.lock());
            self.lowered.notify_all();
        }
    }

    /// Waits while it is raised. False: it was not.
    pub fn wait(&self) -> bool {
        if !self.raised.load(Ordering::Acquire) {
            return false;
        }
        let mut guard = self.lock.lock();
        while self.raised.load(Ordering::Acquire) {
            self.lowered.wait(&mut guard);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn who_waits_goes_on_when_it_is_lowered() {
        let fence = Arc::new(Fence::default());
        assert!(!fence.wait());
        fence.raise();
        let waiting: Vec<_> = std::iter::repeat_with(|| Arc::clone(&fence)).take(4).collect();
        let waiting: Vec<_> =
            waiting.into_iter().map(|fence| std::thread::spawn(move || fence.wait())).collect();
        fence.lower();
        for thread in waiting {
            thread.join().unwrap();
        }
        assert!(!fence.wait());
    }
}
