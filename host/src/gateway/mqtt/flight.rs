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
    /// Whether it was sent before at QoS 2: then it does not expire any more (MQTT-4.3.3-7).
    pub(super) fn has_begun(&self, routed: &Routed) -> bool {
        let Some(session) = self.stay.session.as_ref().filter(|_| routed.expires_us.is_some()) else {
            return false;
        };
        sent(routed).is_some_and(|sent| session.packet_of(&sent).is_some())
    }

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
        let (ingress, reader) = (self.visit.ingress().clone(), Arc::clone(self.visit.session()));
        let free = move || {
            let told = Arc::clone(&link);
            let saved = Box::new(move |result: Result<u64, _>| {
                if result.is_err() || told.send(packet::pubrel(told.version(), id)).is_err() {
                    told.end(DisconnectReasonCode::ServerBusy, "");
                }
            });
            // A consumer that is gone needs no acknowledgement.
            if ingress.ack(&reader, &ack, Some(saved)).is_err() {
                let _ = link.send(packet::pubrel(link.version(), id));
            }
        };
        let Some(session) = &self.stay.session else {
            free();
            return Ok(());
        };
        // One after the other: without its identifier, an acknowledged message would leave the client waiting for good.
        let link = Arc::clone(&self.link);
        let noted = move |result: Result<(), _>| match result {
            Ok(()) => free(),
            Err(_) => link.end(DisconnectReasonCode::ServerBusy, ""),
        };
        if let Err(error) = session.put(id, Sent { released: true, ..sent }, Box::new(noted)) {
            self.link.end(DisconnectReasonCode::ServerBusy, &error.to_string());
        }
        Ok(())
    }
}
