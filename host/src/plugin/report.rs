//! How a shard says that a binding has failed too often, without waiting for anybody.

use parking_lot::Mutex;

/// One version's way of saying that it is over its error budget. Said once; what is said later adds nothing.
pub struct Report {
    said: Mutex<Option<String>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Report {
    /// `wake` is called when something was said, on the thread that says it: it must not block.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { said: Mutex::default(), wake: Box::new(wake) }
    }

    /// The version has failed too often. Never blocks: if the wake-up is lost, the next rescan sees it.
    pub fn over_budget(&self, reason: String) {
        *self.said.lock() = Some(reason);
        (self.wake)();
    }

    /// What was said since it was last asked.
    pub fn take(&self) -> Option<String> {
        self.said.lock().take()
    }
}
