//! What the operator sees of consumers: durable ones and storage plugins together.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::admin::ConsumerView;
use crate::consumer::Consumers;
use crate::durable::{ConsumerInfo, Refused, Registry};
use crate::message::Since;

/// Both kinds.
pub(super) struct AllConsumers {
    pub(super) durable: Arc<Registry>,
    pub(super) storage: Arc<Consumers>,
}

impl ConsumerView for AllConsumers {
    fn list(&self) -> Vec<ConsumerInfo> {
        let mut all = self.durable.list();
        all.extend(self.storage.list());
        all
    }

    fn reset(&self, id: &str, since: &Since) -> Result<(), Refused> {
        Handle::current().block_on(self.durable.reset(id, since))
    }

    fn delete(&self, id: &str) -> Result<(), Refused> {
        Handle::current().block_on(self.durable.remove_by_id(id))
    }
}
