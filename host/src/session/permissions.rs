//! What auth plugins have answered for a principal.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Answers that are kept; beyond it the memory starts anew.
const MOST: usize = 1_024;

/// Remembered answers of `authorize` to `publish`, valid for one (auth generation, accounts revision).
#[derive(Debug, Default)]
pub(super) struct Permissions(Mutex<Answers>);

#[derive(Debug, Default)]
struct Answers {
    authority: (u64, u64),
    publish: HashMap<Box<str>, bool>,
}

impl Permissions {
    pub(super) fn may_publish(&self, authority: (u64, u64), topic: &str) -> Option<bool> {
        let answers = self.0.lock();
        if answers.authority != authority {
            return None;
        }
        answers.publish.get(topic).copied()
    }

    pub(super) fn remember(&self, authority: (u64, u64), topic: &str, allowed: bool) {
        let mut answers = self.0.lock();
        if answers.authority != authority || answers.publish.len() >= MOST {
            answers.publish.clear();
            answers.authority = authority;
        }
        answers.publish.insert(topic.into(), allowed);
    }
}
