//! Sessions that a gateway lets in by its own protocol's rule: an API key of the original, a room's code, nothing at
//! all. No auth plugin is asked; what they may do is what the gateway says, and is confined to its own topics.

use std::sync::Arc;

use super::{Ingress, Rejected};
use crate::message::{Grant, Principal, Rights};
use crate::metrics::Decision;
use crate::session::{NoticeEncoder, OutboundLimits, Session};

/// Whom a gateway lets in.
#[derive(Clone, Debug, Default)]
pub struct Entrant {
    /// The gateway's name.
    pub gateway: &'static str,
    /// Peer address without port, after trusted proxies.
    pub address: String,
    /// An existing tenant; `main` where there is only one.
    pub tenant: String,
    /// One topic level, 1 to 128 bytes: becomes the principal's name.
    pub name: String,
    /// `device`, `page`, `sensor` or `service`.
    pub origin: &'static str,
    /// Id of the account that it rests on.
    pub account: Option<String>,
    /// What it may do.
    pub rights: Rights,
    /// Tells publishers of one name apart: each keeps its order, and has its own rate.
    pub client_id: Option<String>,
}

impl Ingress {
    /// Opens a session for somebody whom the gateway lets in. `notices` as for [`open`](Self::open). Refused is only
    /// what can be no principal.
    pub fn enter(&self, entrant: Entrant, notices: Option<NoticeEncoder>) -> Result<Arc<Session>, Rejected> {
        let Entrant { gateway, address, tenant, name, origin, account, rights, client_id } = entrant;
        let metrics = self.gateway(gateway);
        let claims = rights.claims();
        let grant = Grant { tenant, name, origin: origin.into(), account, claims, ..Grant::default() };
        let id: Arc<str> = ulid::Ulid::generate().to_string().into();
        let principal = Principal::new(grant, Rights::binding(gateway), gateway, &id);
        let decision = if principal.is_ok() { Decision::Allow } else { Decision::Deny };
        metrics.authenticated(decision);
        let principal = principal.map_err(|error| {
            tracing::info!(gateway, %error, "a session was refused");
            Rejected::Denied
        })?;
        let limits = self.limits();
        let bounds = OutboundLimits { messages: limits.queue_messages, bytes: limits.queue_bytes };
        let session = Session::new(id, principal, gateway, address, bounds, notices);
        let session = Arc::new(session.of_client(client_id.as_deref()).counted(metrics));
        if notices.is_some() {
            self.sessions().insert(&session);
        }
        // What it rests on may have gone before there was a session to close.
        if !self.stands(&session.principal) {
            self.close(&session);
            return Err(Rejected::Unauthenticated);
        }
        Ok(session)
    }

    /// Counts somebody whom a gateway did not let in.
    pub fn turned_away(&self, gateway: &'static str) {
        self.gateway(gateway).authenticated(Decision::Unauthenticated);
    }
}
