//! Messages of the broker.

use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::Qos;

use super::life::Life;
use super::link::Link;
use crate::gateway::mqtt::Incoming;
use crate::ingress::Publish;
use crate::message::{Level, Outcome, Responder};
use crate::session::Session;

impl Life {
    /// Hands a message over. Returns when the next one may be read. The error breaks the protocol.
    pub(super) async fn take(
        &self,
        link: &Arc<Link>,
        session: &Arc<Session>,
        incoming: Incoming,
    ) -> Result<(), String> {
        let Incoming { qos, id, publish } = incoming;
        if qos == Qos::ExactlyOnce {
            return Err("it sends QoS 2, which was not asked for".into());
        }
        let number = id.map(|id| link.expect(id));
        let Some(topic) = self.names.arrival(&publish.topic) else {
            self.told.metrics.refused("in", "unwanted");
            if let Some(number) = number {
                link.settle(number, &Outcome::Filtered { reason: String::new() });
            }
            return Ok(());
        };
        let reply_to = publish.reply_to.as_deref().and_then(|topic| self.names.local(topic));
        let level = if number.is_some() { Level::Logged } else { Level::Routed };
        let publish = Publish { topic: topic.into(), reply_to, level, qos: Some(qos as u8), ..publish };
        loop {
            let responder = match number {
                Some(number) => link.responder(number),
                None => {
                    let told = Arc::clone(&self.told);
                    Responder::new(move |outcome| told.outcome(&outcome))
                }
            };
            self.ingress.publish(session, publish.clone(), responder).await;
            // Nothing more is read meanwhile, so that messages keep their order.
            match link.too_early() {
                Some(milliseconds) => {
                    tokio::time::sleep(std::time::Duration::from_millis(milliseconds)).await
                }
                None => return Ok(()),
            }
        }
    }
}
