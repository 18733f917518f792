//! Packet identifiers of messages of QoS 2, in both directions.

use std::collections::HashSet;

use super::{Outgoing, Persistent};
use crate::durable::Refused;
use crate::received::Key;
use crate::store::OnDurable;

impl Persistent {
    /// Identifiers of messages of QoS 2 that came in and are not released.
    pub fn received(&self) -> HashSet<u16> {
        self.state.lock().received.clone()
    }

    /// The identifier, as a message carries it into the log.
    pub fn key(&self, packet: u16) -> Key {
        Key { session: self.id.clone(), packet }
    }

    /// A message of QoS 2 came in with this [`key`](Self::key), and is in the log with it.
    pub fn received_with(&self, packet: u16) {
        let mut state = self.state.lock();
        if !state.gone {
            state.received.insert(packet);
        }
    }

    /// A message of QoS 2 came in under this identifier, and was taken; no log has it. `done` as for
    /// [`put`](Self::put).
    pub fn receive(&self, packet: u16, done: OnDurable) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if state.gone {
            return Err(Refused::Invalid("the session has ended".into()));
        }
        self.disk.received.receive(&self.key(packet), done)?;
        state.received.insert(packet);
        Ok(())
    }

    /// The client has released the identifier: what comes under it is a new message. `done` as for [`put`](Self::put).
    /// False: it was not received, and `done` is not called.
    pub fn release(&self, packet: u16, done: OnDurable) -> Result<bool, Refused> {
        let mut state = self.state.lock();
        if !state.received.contains(&packet) {
            return Ok(false);
        }
        self.disk.received.release(&self.key(packet), done)?;
        state.received.remove(&packet);
        Ok(true)
    }

    /// What of its messages of QoS 2 is under way.
    pub fn outgoing(&self) -> Vec<(u16, Outgoing)> {
        self.state.lock().outgoing.iter().map(|(packet, outgoing)| (*packet, outgoing.clone())).collect()
    }

    /// The identifier under which this message was sent before and is not released.
    pub fn packet_of(&self, message: &Outgoing) -> Option<u16> {
        let state = self.state.lock();
        state.outgoing.iter().find(|(_, outgoing)| *outgoing == message).map(|(packet, _)| *packet)
    }

    /// Notes a message of QoS 2 under its packet identifier. `done` is called when that is on the disk, on the writer's
    /// thread: it must not block. An error: it is not called.
    pub fn put(&self, packet: u16, outgoing: Outgoing, done: OnDurable) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if state.gone {
            return Err(Refused::Invalid("the session has ended".into()));
        }
        let value = serde_json::to_vec(&outgoing).unwrap_or_default();
        self.disk.submit(vec![(self.packet_key(packet), Some(value))], Some(done))?;
        state.outgoing.insert(packet, outgoing);
        Ok(())
    }

    /// Forgets a packet identifier, on the disk behind that.
    pub fn forget(&self, packet: u16) {
        let mut state = self.state.lock();
        if state.outgoing.remove(&packet).is_some()
            && let Err(error) = self.disk.submit(vec![(self.packet_key(packet), None)], None)
        {
            tracing::warn!(id = %self.id, packet, %error, "a packet identifier stays on the disk");
        }
    }

    pub(super) fn packet_key(&self, packet: u16) -> Vec<u8> {
        format!("{}/{packet}", self.id).into_bytes()
    }
}
