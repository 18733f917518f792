//! Whether the router can take traffic, and what it still waits for.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Named conditions that stand in the way of being ready. A new one waits for `server`.
#[derive(Debug)]
pub struct Readiness(Mutex<BTreeMap<&'static str, String>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Mutex::new(BTreeMap::from([("server", "starting".to_owned())])))
    }
}

impl Readiness {
    /// Not ready until `done` is called for the same name.
    pub fn wait(&self, name: &'static str, why: impl Into<String>) {
        self.0.lock().insert(name, why.into());
    }

    /// This condition is met.
    pub fn done(&self, name: &str) {
        self.0.lock().remove(name);
    }

    /// What is in the way; empty = ready.
    pub fn reasons(&self) -> BTreeMap<&'static str, String> {
        self.0.lock().clone()
    }

    /// Whether nothing is in the way.
    pub fn is_ready(&self) -> bool {
        self.0.lock().is_empty()
    }
}
