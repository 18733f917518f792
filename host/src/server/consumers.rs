//! What the operator sees of consumers: durable ones, storage plugins and webhooks together.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::admin::ConsumerView;
use crate::consumer::Consumers;
use crate::durable::{ConsumerInfo, LogInfo, Refused, Registry};
use crate::message::Since;
use crate::outbox::{WebhookInfo, Webhooks};

/// All kinds.
pub(super) struct AllConsumers {
    pub(super) durable: Arc<Registry>,
    pub(super) storage: Arc<Consumers>,
    pub(super) webhooks: Webhooks,
}

impl ConsumerView for AllConsumers {
    fn list(&self) -> Vec<ConsumerInfo> {
        let mut all = self.durable.list();
        all.extend(self.storage.list());
        all.extend(self.webhooks.list().into_iter().map(shown));
        all
    }

    fn reset(&self, id: &str, since: &Since) -> Result<(), Refused> {
        Handle::current().block_on(self.durable.reset(id, since))
    }

    fn delete(&self, id: &str) -> Result<(), Refused> {
        Handle::current().block_on(self.durable.remove_by_id(id))
    }
}

fn shown(webhook: WebhookInfo) -> ConsumerInfo {
    let logs = webhook.places.iter().map(|(log, next)| LogInfo {
        log: Arc::clone(log.name()),
        cursor: *next,
        next: *next,
        lag: log.durable().saturating_sub(*next),
        held_bytes: log.bytes_from(*next),
    });
    let id: Arc<str> = webhook.id.into();
    ConsumerInfo {
        name: id.strip_prefix("webhook:").unwrap_or(&id).into(),
        kind: "webhook",
        owner: None,
        topics: webhook.topics,
        members: Vec::new(),
        logs: logs.collect(),
        in_flight: 0,
        redelivered: 0,
        missed: webhook.missed,
        idle_since_us: None,
        id,
    }
}
