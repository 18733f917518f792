//! An open session that cannot be forgotten.

use std::sync::Arc;

use crate::ingress::Ingress;
use crate::session::Session;

/// Closes its session when dropped: also when a request's future is dropped half way, because the client
/// went away.
pub(crate) struct Visit {
    ingress: Ingress,
    session: Arc<Session>,
}

impl Visit {
    /// Takes charge of a session that `ingress` opened.
    pub(crate) fn new(ingress: Ingress, session: Arc<Session>) -> Self {
        Self { ingress, session }
    }

    /// The session.
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The one door.
    pub(crate) fn ingress(&self) -> &Ingress {
        &self.ingress
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.ingress.close(&self.session);
    }
}
