//! Where storage plugins stand, for operators.

use std::sync::Arc;

use super::Consumers;
use crate::durable::{ConsumerInfo, LogInfo};

impl Consumers {
    /// All storage bindings, by name.
    pub fn list(&self) -> Vec<ConsumerInfo> {
        let running = self.running.lock();
        let info = |(name, consumer): (&Arc<str>, &super::Consumer)| ConsumerInfo {
            id: Arc::clone(name),
            kind: "storage",
            owner: None,
            name: Arc::clone(name),
            topics: consumer.binding.load().spec.topics.iter().map(ToString::to_string).collect(),
            members: Vec::new(),
            logs: consumer.progress.places().into_iter().filter_map(|place| self.log_info(place)).collect(),
            in_flight: 0,
            redelivered: 0,
            missed: self.metrics.consumer(name).missed.get(),
            idle_since_us: None,
        };
        running.iter().map(info).collect()
    }

    fn log_info(&self, (name, next): (Arc<str>, u64)) -> Option<LogInfo> {
        let log = self.store.log(&name)?;
        let (lag, held_bytes) = (log.durable().saturating_sub(next), log.bytes_from(next));
        Some(LogInfo { log: name, cursor: next, next, lag, held_bytes })
    }
}
