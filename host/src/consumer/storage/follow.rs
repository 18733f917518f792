//! Which logs a storage thread reads, and what it passes over in them.

use super::super::begin;
use super::{BATCH_BYTES, Failed, Writer};
use crate::dead_letters::Reader;
use crate::plugin::Binding;
use crate::plugin::guest::StateAccess;
use crate::store::{Cursor, Log, ReadPage, StorageSpace, StoreError};

impl Writer {
    /// Reads and holds the logs that the binding's topics meet, from now on, and lets go of the others. In a log that
    /// it has read before, it will go on where it was.
    pub(super) fn follow(&mut self, binding: &Binding, space: &StorageSpace) {
        self.logs = self.consumers.met(binding);
        for log in self.consumers.store.logs() {
            if !self.logs.iter().any(|read| read.index() == log.index()) {
                log.set_hold(&self.holder, None);
                self.progress.leave(log.name());
            } else if let Ok(cursor) = begin(space, log) {
                // An error comes up again when the thread reads, and is told there.
                log.set_hold(&self.holder, Some(log.take_up(Some(cursor))));
            }
        }
    }

    /// Where the log ends for it.
    pub(in super::super) fn end(&self, log: &Log) -> Result<u64, StoreError> {
        let Some(ahead) = &self.ahead else { return Ok(log.durable()) };
        Ok(ahead.cursor(log.name())?.map_or(0, |cursor| cursor.next.min(log.durable())))
    }

    /// While it stands still: in each log it moves on up to the first message that is the plugin's, so that it holds
    /// nothing else. An error comes up again when it reads.
    pub(super) fn pass_over(&self, binding: &Binding) {
        let StateAccess::Storage(space) = &binding.shared.state else { return };
        for log in &self.logs {
            let Ok(cursor) = begin(space, log) else { continue };
            let from = log.take_up(Some(cursor));
            if from != cursor.next || from >= log.durable() {
                continue;
            }
            let wanted = |topic: &str| binding.spec.takes(topic);
            let Ok(page) = log.read(from, &wanted, 1, BATCH_BYTES) else { continue };
            let next = page.messages.first().map_or(page.next, |stored| stored.place.offset);
            // A gap is told by who reads on.
            if next == from || page.missed.is_some() || !page.damaged.is_empty() {
                continue;
            }
            if space.commit(&[], &[(log.name(), Cursor { epoch: log.epoch(), next })]).is_ok() {
                log.set_hold(&self.holder, Some(next));
                self.progress.reached(log.name(), next);
            }
        }
    }

    /// What the plugin will never see of a log is told, and not taken for stored. A rebuild that must be complete ends.
    pub(super) fn tell_gaps(
        &self,
        binding: &Binding,
        log: &Log,
        cursor: Option<Cursor>,
        from: u64,
        page: &ReadPage,
    ) -> Result<(), Failed> {
        if !self.rebuilds {
            let reader = Reader { consumer: binding.name(), metrics: &self.metrics, log, cursor };
            self.consumers.dead_letters.keep_gaps(&reader, from, page)?;
        }
        for gone in page.missed.iter().chain(&page.damaged) {
            self.progress.set_aside(log.name(), gone.clone(), "the log lost it before the plugin read it");
            if self.rebuilds {
                let (plugin, log) = (binding.name(), log.name());
                tracing::warn!(%plugin, %log, ?gone, "messages were gone before they were rebuilt");
                if !self.partial {
                    let (first, last) = (gone.start, gone.end.saturating_sub(1));
                    let what = format!("log {log} no longer has offsets {first} to {last}");
                    return Err(Failed::Gone(what));
                }
            }
        }
        Ok(())
    }
}
