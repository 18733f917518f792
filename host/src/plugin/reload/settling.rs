//! Which files of the folder are still being written: they are left alone until they have settled.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};

/// A file is taken so long after its writer closed it, so that several writes in a row are one.
pub const QUIET: Duration = Duration::from_millis(100);
/// A file whose close was never seen (a network folder, a lost event) is taken after so long without a write.
pub const ABANDONED: Duration = Duration::from_secs(10);

/// Files that wait to settle.
#[derive(Debug, Default)]
pub struct Settling {
    waiting: HashMap<PathBuf, Instant>,
}

impl Settling {
    /// Notes an event. The folder must be read again when something is [`due`](Self::take_due).
    pub fn note(&mut self, kind: &EventKind, paths: &[PathBuf], now: Instant) {
        let wait = match kind {
            // A rename into place is complete by its nature.
            EventKind::Modify(ModifyKind::Name(_)) => Duration::ZERO,
            EventKind::Access(AccessKind::Close(AccessMode::Write)) | EventKind::Remove(_) => QUIET,
            EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)) => ABANDONED,
            EventKind::Modify(_) | EventKind::Any | EventKind::Other => QUIET,
            EventKind::Access(_) => return,
        };
        for path in paths {
            // Nobody will ever close a link, a FIFO or a folder: it is looked at, and refused, soon.
            let special = std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file());
            let wait = if special { wait.min(QUIET) } else { wait };
            // Metadata of a file that is being written must not settle it.
            let weak = matches!(kind, EventKind::Modify(ModifyKind::Metadata(_)));
            if !(weak && self.waiting.contains_key(path)) {
                self.waiting.insert(path.clone(), now + wait);
            }
        }
    }

    /// Whether the file may be read.
    pub fn is_settled(&self, path: &Path) -> bool {
        !self.waiting.contains_key(path)
    }

    /// When the next file settles.
    pub fn next(&self) -> Option<Instant> {
        self.waiting.values().min().copied()
    }

    /// Lets go of all that has settled. True: there was some.
    pub fn take_due(&mut self, now: Instant) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|_, due| *due > now);
        self.waiting.len() < before
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, MetadataKind, RenameMode};

    use super::*;

    const WRITE: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSE: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));

    #[test]
    fn a_slow_copy_settles_only_after_its_close() {
        let mut settling = Settling::default();
        let path = [PathBuf::from("a.wasm")];
        let start = Instant::now();
        settling.note(&EventKind::Create(CreateKind::File), &path, start);
        for second in 1..30 {
            let now = start + Duration::from_secs(second);
            settling.note(&WRITE, &path, now);
            settling.note(&EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), &path, now);
            assert!(!settling.take_due(now + Duration::from_secs(1)));
            assert!(!settling.is_settled(&path[0]));
        }
        let end = start + Duration::from_secs(30);
        settling.note(&CLOSE, &path, end);
        assert!(!settling.take_due(end));
        assert!(settling.take_due(end + QUIET));
        assert!(settling.is_settled(&path[0]));
    }

    #[test]
    fn a_rename_settles_at_once() {
        let mut settling = Settling::default();
        let now = Instant::now();
        settling.note(&EventKind::Modify(ModifyKind::Name(RenameMode::To)), &["a.wasm".into()], now);
        assert_eq!(settling.next(), Some(now));
        assert!(settling.take_due(now));
    }

    #[test]
    fn a_close_that_was_never_seen_does_not_wait_for_ever() {
        let mut settling = Settling::default();
        let now = Instant::now();
        settling.note(&WRITE, &["a.wasm".into()], now);
        assert!(settling.take_due(now + ABANDONED));
    }
}
