//! Where webhooks stand, for operators.

use super::{Webhook, Webhooks};
use crate::store::Log;

/// One webhook.
pub struct WebhookInfo {
    /// As in metrics and holds: `webhook:NAME`.
    pub id: String,
    /// What it posts.
    pub topics: Vec<String>,
    /// The logs that it reads, and the first offset of each that is not sent.
    pub places: Vec<(Log, u64)>,
    /// Offsets that were gone before they were read, since the router started.
    pub missed: u64,
}

impl Webhooks {
    /// All of them, as they are configured. Reads cursors, perhaps from the disk.
    pub fn list(&self) -> Vec<WebhookInfo> {
        self.0.iter().map(|webhook| webhook.info()).collect()
    }
}

impl Webhook {
    fn info(&self) -> WebhookInfo {
        WebhookInfo {
            id: self.name.clone(),
            topics: self.topics.iter().map(ToString::to_string).collect(),
            places: self.places(),
            missed: self.progress.missed.get(),
        }
    }

    /// What cannot be read is told by the task that reads the log.
    pub(super) fn places(&self) -> Vec<(Log, u64)> {
        let place = |log: &Log| Some((log.clone(), self.space.cursor(log.name()).ok()??.next));
        self.logs.iter().filter_map(place).collect()
    }
}
