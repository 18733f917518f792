//! What is published when a client goes without a word (MQTT 5 section 3.1.2.5), maybe some time later.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{Property, Qos, v3_1_1, v5_0};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::publish::describe;
use crate::ingress::{Ingress, Publish};
use crate::message::Responder;
use crate::persistent::Owner;
use crate::session::Session;

/// A will, and how long after the connection's end it is published, unless the session ends before.
pub(super) struct Will {
    pub(super) publish: Publish,
    pub(super) delay: Duration,
}

/// Wills whose time has not come. There is one for a session at most, so sessions bound them.
#[derive(Default)]
pub(super) struct Wills(Mutex<HashMap<Owner, oneshot::Sender<bool>>>);

impl Wills {
    /// Publishes a will later, unless its client comes back before ([`settle`](Self::settle)).
    pub(super) fn put_off(&self, ingress: &Ingress, session: &Arc<Session>, owner: Owner, will: Will) {
        let (verdict, said) = oneshot::channel();
        let mut all = self.0.lock();
        all.retain(|_, verdict| !verdict.is_closed());
        all.insert(owner, verdict);
        drop(all);
        let (ingress, session) = (ingress.clone(), Arc::clone(session));
        tokio::spawn(async move {
            let now = match timeout(will.delay, said).await {
                Ok(Ok(now)) => now,
                // The router is stopping.
                Ok(Err(_)) => false,
                Err(_) => true,
            };
            if now {
                ingress.publish(&session, will.publish, Responder::none()).await;
            }
        });
    }

    /// The client is back: its will is published at once if its session has ended, or never.
    pub(super) fn settle(&self, owner: &Owner, session_ended: bool) {
        if let Some(verdict) = self.0.lock().remove(owner) {
            // Its time has come before.
            let _ = verdict.send(session_ended);
        }
    }
}

impl Will {
    pub(super) fn early(packet: &v3_1_1::Connect) -> Option<Self> {
        let will = (packet.will_topic()?, packet.will_payload(), packet.will_qos(), packet.will_retain());
        Some(Self { publish: message(will), delay: Duration::ZERO })
    }

    pub(super) fn late(packet: &v5_0::Connect) -> Option<Self> {
        let will = (packet.will_topic()?, packet.will_payload(), packet.will_qos(), packet.will_retain());
        let mut publish = message(will);
        describe(&mut publish, packet.will_props());
        let delay = packet.will_props().iter().find_map(|property| match property {
            Property::WillDelayInterval(seconds) => Some(Duration::from_secs(seconds.val().into())),
            _ => None,
        });
        Some(Self { publish, delay: delay.unwrap_or_default() })
    }
}

fn message((topic, payload, qos, retain): (&str, Option<&[u8]>, Qos, bool)) -> Publish {
    Publish {
        topic: topic.into(),
        payload: Bytes::copy_from_slice(payload.unwrap_or_default()),
        qos: Some(qos as u8),
        retain,
        ..Publish::default()
    }
}
