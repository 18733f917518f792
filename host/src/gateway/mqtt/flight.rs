//! Messages that are out: what the client says of them, and what follows from it for the logs.

use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};

use std::sync::Arc;

use super::packet;
use super::talk::Talk;
use crate::durable::Ack;
use crate::message::{Mark, Routed};

/// Where a message stands that came by a durable consumer.
pub(super) type Sent = crate::persistent::Outgoing;

/// None: nobody waits for its acknowledgement.
pub(super) fn sent(routed: &Routed) -> Option<Sent> {
    let Mark::Consumer { name, shared, .. } = &routed.mark else { return None };
    let place = routed.place.as_ref()?;
    Some(Sent {
        consumer: name.to_string(),
        shared: *shared,
        log: place.log.to_string(),
        epoch: place.epoch,
        offset: place.offset,
        released: false,
    })
}

impl Talk {
    /// A message needs nothing more from the client.
    pub(super) fn done(&self, routed: &Routed) {
        if let Some(sent) = sent(routed) {
            self.ack(&Ack::from(&sent));
        }
    }

    /// The client has said all that it has to say of a message.
    pub(super) fn landed(&self, id: u16) {
        let sent = self.in_flight.lock().remove(&id);
        if let Some(Some(sent)) = &sent {
            self.ack(&Ack::from(sent));
        }
        if let Some(session) = &self.stay.session {
            session.forget(id);
        }
        self.link.wake();
    }

    /// The client has a message of QoS 2. That is on the disk before it is told so: what it has released it would take
    /// for a new message.
    pub(super) fn release(&self, id: u16) -> Result<(), MqttError> {
        let link = Arc::clone(&self.link);
        let sent = self.in_flight.lock().get_mut(&id).and_then(Option::take);
        let Some(sent) = sent else { return link.send(packet::pubrel(link.version(), id)) };
        let ack = Ack::from(&sent);
        if let Some(session) = &self.stay.session
            && let Err(error) = session.put(id, Sent { released: true, ..sent }, Box::new(drop))
        {
            link.end(DisconnectReasonCode::ServerBusy, &error.to_string());
            return Ok(());
        }
        let saved = Box::new(move |result: Result<u64, _>| {
            // One that is gone needs no acknowledgement.
            if result.is_err() || link.send(packet::pubrel(link.version(), id)).is_err() {
                link.end(DisconnectReasonCode::ServerBusy, "");
            }
        });
        if self.visit.ingress().ack(self.visit.session(), &ack, Some(saved)).is_err() {
            return self.link.send(packet::pubrel(self.link.version(), id));
        }
        Ok(())
    }
}
