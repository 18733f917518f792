//! Who is present at a topic.

use std::sync::Arc;

use super::{Ingress, invalid};
use crate::message::Outcome;
use crate::router::Present;
use crate::session::Session;
use weir_contract::topic;

impl Ingress {
    /// Shows `see` who is present at one topic, once the session's auth plugin has allowed it. What `see` puts
    /// into the session's queue stands there among its join and leave events in the order in which it
    /// happened; nobody joins or leaves meanwhile, so it should be quick.
    pub async fn presence<R>(
        &self,
        session: &Arc<Session>,
        topic: &str,
        see: impl FnOnce(&Present) -> R,
    ) -> Result<R, Outcome> {
        if topic.contains(['+', '#']) {
            return Err(invalid(format!("topic {topic:?}: presence is of one topic, without + and #")));
        }
        topic::check(topic).map_err(|error| invalid(format!("topic {topic:?}: {error}")))?;
        self.authorize(session, "presence", topic).await?;
        Ok(self.0.parts.router.present(topic, see))
    }
}
