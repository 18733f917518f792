//! One batch through the plugin, until each of its messages is stored or set aside.

use std::time::Instant;

use super::super::effects::Effects;
use super::super::placed::for_plugin;
use super::{Failed, Writer};
use crate::dead_letters::About;
use crate::message::{Message, Stored};
use crate::metrics::{End, Limit};
use crate::outbox::RefusedPost;
use crate::plugin::contract::{MessageIn, StoreFailure, Write as Written};
use crate::plugin::{Binding, CallError, component};

impl Writer {
    /// Calls the plugin until the batch is through. None: try again with smaller batches.
    pub(super) fn store(&mut self, binding: &Binding, batch: &[Stored]) -> Result<Option<Effects>, Failed> {
        self.aside.clear();
        let mut left: Vec<&Stored> = batch.iter().collect();
        let mut tries = 0;
        while !left.is_empty() {
            tries += 1;
            let messages: Vec<Message> = left.iter().map(|stored| for_plugin(stored)).collect();
            match self.call(binding, &messages) {
                Ok(Ok(written)) => match self.check(binding, written) {
                    Ok(effects) => {
                        self.suspects = self.suspects.saturating_sub(batch.len());
                        return Ok(Some(effects));
                    }
                    // Of which message is the post? One at a time, until it has been found.
                    Err(_) if left.len() > 1 => {
                        self.suspects = left.len();
                        return Ok(None);
                    }
                    Err(refused) => {
                        if let Some(message) = left.pop() {
                            self.set_aside(binding, message, &refused.to_string(), "its post is refused");
                        }
                    }
                },
                Ok(Err(StoreFailure::Unprocessable(bad))) => {
                    let at = usize::try_from(bad.index).unwrap_or(usize::MAX);
                    if at >= left.len() {
                        return Err(Failed::Index { index: bad.index, of: left.len() });
                    }
                    let message = left.remove(at);
                    self.set_aside(binding, message, &bad.reason, &bad.reason);
                }
                Ok(Err(StoreFailure::Unavailable(text))) => return Err(CallError::Unavailable(text).into()),
                Ok(Err(StoreFailure::Internal(text))) => return Err(CallError::Internal(text).into()),
                // Which message is it? One at a time, until it has been found.
                Err(error) if left.len() > 1 && is_trap(&error) => {
                    self.suspects = left.len();
                    return Ok(None);
                }
                Err(error) if tries > 1 && is_trap(&error) => {
                    if let Some(poison) = left.pop() {
                        self.set_aside(binding, poison, &error.to_string(), "it failed");
                    }
                }
                Err(error) if is_trap(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.suspects = self.suspects.saturating_sub(batch.len());
        Ok(Some(Effects::default()))
    }

    fn check(&self, binding: &Binding, written: Vec<Written>) -> Result<Effects, RefusedPost> {
        Effects::check(self.without_posts(written), binding, &self.consumers.outbox)
    }

    /// A rebuild sends nothing: what is to be sent was sent when the message was stored for the first time.
    fn without_posts(&self, mut written: Vec<Written>) -> Vec<Written> {
        if self.rebuilds {
            written.retain(|write| !matches!(write, Written::Post(_)));
        }
        written
    }

    /// One call of the plugin.
    pub(super) fn call(
        &mut self,
        binding: &Binding,
        batch: &[Message],
    ) -> Result<Result<Vec<Written>, StoreFailure>, CallError> {
        let Some(live) = &mut self.live else {
            return Err(CallError::Engine("no instance".into()));
        };
        if live.instance.is_dead() {
            if binding.health.may_renew().is_err() {
                return Err(CallError::Skipped("it loses its instances faster than it may".into()));
            }
            live.instance = binding.instance()?;
        }
        let borrowed: Vec<MessageIn<'_>> = batch.iter().map(MessageIn::from).collect();
        let started = Instant::now();
        let _clock = binding.engine().running();
        let answer = live.instance.store(&borrowed);
        let end = match &answer {
            Ok(Ok(_) | Err(StoreFailure::Unprocessable(_))) => End::Done,
            Ok(Err(_)) => End::Error,
            Err(error) => {
                binding.failed(error);
                End::from(error)
            }
        };
        let took = started.elapsed();
        live.metrics.ended(end, took);
        binding.shared.used.took(Limit::StoreDeadline, took);
        answer
    }

    /// `told` is what the publisher learns: what a plugin says when it fails is the operator's.
    fn set_aside(&mut self, binding: &Binding, stored: &Stored, reason: &str, told: &str) {
        self.aside.push((stored.place.offset, told.to_owned()));
        let version = &binding.shared.version;
        if self.rebuilds {
            // It became a dead letter when it was stored for the first time, if it was refused then, too.
            tracing::warn!(plugin = %binding.name(), %version, reason, "message left out of the rebuild");
            return;
        }
        tracing::warn!(plugin = %binding.name(), %version, reason, "message cannot be stored: dead letter");
        let (plugin, digest) = (binding.name(), &*component::hex(&binding.loaded.digest));
        let about = About { stage: "storage", plugin, version, digest, reason, ..About::default() };
        self.consumers.dead_letters.keep(&for_plugin(stored), &about);
    }
}

pub(super) fn is_trap(error: &CallError) -> bool {
    matches!(error, CallError::Trap(_) | CallError::Memory(_) | CallError::Output(_))
}
