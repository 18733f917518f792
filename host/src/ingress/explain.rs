//! What would become of a message, without publishing it.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::waiting::is_reply;
use super::{Ingress, Publish, admission, invalid, request};
use crate::message::{Outcome, now_us};
use crate::session::Session;
use crate::shard::{Command, Explained};

impl Ingress {
    /// Admits a message and asks a shard what its plugins make of it. Nothing is delivered, stored or committed.
    /// Waits as [`publish`](Self::publish) does. `payloads`: the steps show them. Err: it is not admitted, or the
    /// session's auth plugin does not allow `explain` there.
    pub async fn explain(
        &self,
        session: &Arc<Session>,
        publish: Publish,
        payloads: bool,
    ) -> Result<Explained, Outcome> {
        request::check(&publish)?;
        let message = admission::admit(session, publish, &self.0.parts.limits, &self.0.rate, now_us())?;
        if is_reply(&message.topic) {
            return Err(invalid("a reply meets no plugin: there is nothing to explain".into()));
        }
        let shard = self.shard(session).ok_or(Outcome::ShuttingDown)?;
        let permit = shard.room(message.size()).await.ok_or(Outcome::ShuttingDown)?;
        let (answer, answered) = oneshot::channel();
        let session = Arc::clone(session);
        let command = Command::Explain { session, message, payloads, answer, permit };
        shard.send(command).await.map_err(|_| Outcome::ShuttingDown)?;
        answered.await.map_err(|_| Outcome::ShuttingDown)?
    }
}
