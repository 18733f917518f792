//! Sessions that outlive their connections: how one is found or begun, how it goes on, and what becomes of it when its
//! connection ends.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mqtt_protocol_core::mqtt::result_code::DisconnectReasonCode;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::Inner;
use super::subscribe::Wanted;
use super::talk::Talk;
use crate::durable::{Ack, Asked, Request};
use crate::ingress::Ingress;
use crate::message::{Outcome, Principal, Since};
use crate::persistent::{Outgoing, Owner, Persistent, Subscription};

/// A message that is not acknowledged comes again with the next connection, and never before (MQTT 4.4).
const NEVER: Duration = Duration::from_secs(365 * 24 * 3_600);
/// A consumer is kept for so much longer than its session, which takes it along.
const LONGER: Duration = Duration::from_secs(3_600);

/// What a connection has of its session. Dropped, it keeps or ends it.
pub(super) struct Stay {
    ingress: Ingress,
    /// None: it ends with the connection.
    pub(super) session: Option<Arc<Persistent>>,
    expires_after: Mutex<Duration>,
}

/// Whose session this is.
pub(super) fn owner(principal: &Principal, client: &str) -> Owner {
    Owner {
        tenant: Arc::clone(&principal.tenant),
        principal: Arc::clone(&principal.name),
        client: client.into(),
    }
}

impl Stay {
    /// Takes up the session that there is, unless the client wants a new one; begins one if it is to outlive its
    /// connection. True: there was one. `Err`: there are too many.
    pub(super) fn begin(
        app: &Inner,
        owner: Owner,
        clean: bool,
        expires_after: Duration,
    ) -> Result<(Self, bool), ()> {
        let all = app.ingress.persistent();
        let mut found = all.resume(&owner);
        if clean && let Some(before) = found.take() {
            app.ingress.end_persistent(&before);
        }
        let present = found.is_some();
        let session = match found {
            None if !expires_after.is_zero() => {
                let begun = all.begin(owner, app.config.sessions).map_err(|error| {
                    tracing::warn!(%error, "an MQTT client was refused a session");
                })?;
                Some(begun)
            }
            found => found,
        };
        session.iter().for_each(|session| session.keep(expires_after));
        let (ingress, expires_after) = (app.ingress.clone(), Mutex::new(expires_after));
        Ok((Self { ingress, session, expires_after }, present))
    }

    /// How long it outlives the connection.
    pub(super) fn expires_after(&self) -> Duration {
        *self.expires_after.lock()
    }

    /// The client wants another time. False: it had said that it would not come back, and cannot change that.
    pub(super) fn change(&self, expires_after: Duration) -> bool {
        let mut now = self.expires_after.lock();
        if now.is_zero() && !expires_after.is_zero() {
            return false;
        }
        *now = expires_after;
        true
    }

    /// The name of the consumer that reads for a subscription. Nobody can give one such a name.
    pub(super) fn consumer(&self, filter: &str, shared: bool) -> Option<Arc<str>> {
        let digest = Sha256::digest(filter);
        let hash: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        if shared {
            return Some(format!("$share.{hash}").into());
        }
        self.session.as_ref().map(|session| format!("$mqtt.{}.{hash}", session.id()).into())
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let Some(session) = &self.session else { return };
        match self.expires_after() {
            Duration::ZERO => self.ingress.end_persistent(session),
            expires_after => session.park(expires_after),
        }
    }
}

impl Talk {
    /// Goes on with a session that was there before: first with identifiers that are not released, then with its
    /// subscriptions.
    pub(super) async fn resume(&self) {
        let Some(session) = &self.stay.session else { return };
        self.link.restore(session.received());
        let subscriptions = session.subscriptions();
        let comes_again = |outgoing: &Outgoing| {
            let read = |kept: &Subscription| kept.consumer.as_ref() == Some(&outgoing.consumer);
            !outgoing.released && !outgoing.shared && subscriptions.iter().any(read)
        };
        let outgoing = session.outgoing();
        if !self.acknowledge(&outgoing).await {
            return self.link.end(DisconnectReasonCode::ServerBusy, "");
        }
        for (packet, outgoing) in outgoing {
            self.link.reserve(packet);
            // What a group has not finished goes to another member, and what nobody reads any more to nobody: this client
            // is not to wait for it.
            if !comes_again(&outgoing) {
                self.in_flight.lock().insert(packet, None);
                self.link.release_again(packet);
            }
        }
        self.rejoin(subscriptions).await;
    }

    /// What was to be released is acknowledged to its consumers, and on the disk before the client hears of it: it forgets
    /// the identifier then, and so does the session. False: the disk does not take it.
    async fn acknowledge(&self, outgoing: &[(u16, Outgoing)]) -> bool {
        let mut waiting = Vec::new();
        for (_, released) in outgoing.iter().filter(|(_, outgoing)| outgoing.released) {
            let (done, saved) = oneshot::channel();
            let done = Box::new(move |result: Result<u64, _>| {
                // Nobody waits any more.
                let _ = done.send(result.is_ok());
            });
            // A consumer that is gone needs no acknowledgement.
            if self.visit.ingress().ack(self.visit.session(), &Ack::from(released), Some(done)).is_ok() {
                waiting.push(saved);
            }
        }
        join_all(waiting).await.into_iter().all(|saved| saved == Ok(true))
    }

    async fn rejoin(&self, subscriptions: Vec<Subscription>) {
        for kept in subscriptions {
            let wanted = match Wanted::of(&kept) {
                Ok(wanted) => wanted,
                Err(error) => {
                    tracing::error!(filter = kept.filter, %error, "a kept subscription cannot be read");
                    continue;
                }
            };
            match self.join(&kept.filter.as_str().into(), wanted, false).await {
                Ok(_) => {}
                Err(Outcome::Denied { .. }) => {
                    tracing::debug!(filter = kept.filter, "a kept subscription is not allowed any more");
                    let _ = self.leave(&kept.filter).await;
                }
                Err(outcome) => {
                    tracing::debug!(filter = kept.filter, reason = %outcome.reason(), "a session cannot go on");
                    self.link.end(DisconnectReasonCode::ServerBusy, &outcome.reason());
                    return;
                }
            }
        }
    }

    /// Reads the logs for a subscription.
    pub(super) fn request(&self, name: &str, wanted: &Wanted, shared: bool) -> Request {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).ok();
        let options = Asked {
            ack_wait_ms: milliseconds(NEVER),
            max_in_flight: u64::try_from(self.most_in_flight).ok(),
            expires_after_ms: milliseconds(self.session_expiry_max.saturating_add(LONGER)),
        };
        let pattern = wanted.pattern.to_string();
        Request { name: name.to_owned(), shared, pattern, options, since: Since::Now }
    }

    /// Acknowledges a message to its consumer, which may be gone by now.
    pub(super) fn ack(&self, ack: &Ack) {
        if let Err(outcome) = self.visit.ingress().ack(self.visit.session(), ack, None) {
            tracing::debug!(consumer = ack.name, reason = %outcome.reason(), "not acknowledged");
        }
    }
}
