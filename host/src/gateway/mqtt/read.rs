//! The reading half: one packet after the other, within the client's keep-alive.

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::packet::Packet;
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout_at;

use super::link::Link;

/// Bytes of one read.
const READ: usize = 4 * 1024;

/// How reading ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client has said goodbye.
    Bye,
    /// It has gone without, or wants its will published.
    Gone,
    /// It has said nothing for longer than it had promised.
    Late,
    /// It broke the protocol.
    Fault(MqttError),
}

pub(super) struct Reader<R> {
    io: R,
    bytes: Vec<u8>,
    at: usize,
    packets: std::collections::VecDeque<Packet>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(io: R) -> Self {
        Self { io, bytes: Vec::new(), at: 0, packets: Default::default() }
    }

    /// The next packet.
    pub(super) async fn next(&mut self, link: &Link) -> Result<Packet, End> {
        loop {
            if let Some(packet) = self.packets.pop_front() {
                return Ok(packet);
            }
            if let Some(rest) = self.bytes.get(self.at..).filter(|rest| !rest.is_empty()) {
                let mut cursor = Cursor::new(rest);
                let received = link.receive(&mut cursor);
                self.at += usize::try_from(cursor.position()).unwrap_or(usize::MAX);
                self.packets.extend(received.packets);
                match received.fault {
                    Some(error) => return Err(End::Fault(error)),
                    None => continue,
                }
            }
            self.fill(link).await?;
        }
    }

    async fn fill(&mut self, link: &Link) -> Result<(), End> {
        self.at = 0;
        self.bytes.clear();
        self.bytes.reserve(READ);
        let read = self.io.read_buf(&mut self.bytes);
        let read = match link.deadline() {
            Some(deadline) => timeout_at(deadline.into(), read).await.map_err(|_| End::Late)?,
            None => read.await,
        };
        match read {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) => Err(End::Gone),
        }
    }

    /// Reads until the peer has ended, so that what was sent to it is not lost with the connection.
    pub(super) async fn discard(&mut self) {
        loop {
            self.bytes.clear();
            self.bytes.reserve(READ);
            match self.io.read_buf(&mut self.bytes).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }
}

/// What a fault is in DISCONNECT.
pub(super) fn fault(error: MqttError) -> DisconnectReasonCode {
    let code = u8::try_from(error as u16).ok().and_then(|code| DisconnectReasonCode::try_from(code).ok());
    code.unwrap_or(DisconnectReasonCode::ProtocolError)
}
