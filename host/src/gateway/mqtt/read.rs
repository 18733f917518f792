//! The reading half: one packet after the other, within the client's keep-alive. What has come of a packet waits here until
//! the rest has, within the bounds for all that have come in part.

use std::collections::VecDeque;
use std::future::poll_fn;

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::packet::Packet;
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};
use tokio::io::{AsyncRead, AsyncReadExt, ReadHalf};
use tokio::net::tcp;
use tokio::time::timeout_at;

use super::frame::{self, Next, OPENING};
use super::link::Link;
use super::strict;
use crate::gateway::unfinished::Unfinished;
use crate::gateway::ws::ByteReader;

/// Bytes of one read; a packet of no more is not counted as unfinished.
const READ: usize = 4 * 1024;
/// Bytes of one read in the middle of a packet.
const READ_ON: usize = 64 * 1024;

/// How reading ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client has said goodbye.
    Bye,
    /// It has gone without, or wants its will published.
    Gone,
    /// It has said nothing for longer than it had promised.
    Late,
    /// The rest of a packet did not come in time, or too much has come in part.
    Unfinished(DisconnectReasonCode, String),
    /// It broke the protocol.
    Fault(MqttError),
}

/// Where bytes come from.
pub(super) trait Source: AsyncRead + Unpin {
    /// From now on packets of so many bytes may come.
    fn allow(&mut self, _most: usize) {}
}

impl Source for tcp::ReadHalf<'_> {}
impl<T: AsyncRead + Unpin> Source for ReadHalf<T> {}
impl<R: AsyncRead + Unpin> Source for ByteReader<R> {
    fn allow(&mut self, most: usize) {
        Self::allow(self, most);
    }
}

pub(super) struct Reader<R> {
    io: R,
    bytes: Vec<u8>,
    at: usize,
    packets: VecDeque<Packet>,
    /// Bytes of one packet.
    most: usize,
    unfinished: Unfinished,
}

impl<R: Source> Reader<R> {
    /// Takes no packets larger than a CONNECT before [`allow`](Self::allow).
    pub(super) fn new(io: R, unfinished: Unfinished) -> Self {
        Self { io, bytes: Vec::new(), at: 0, packets: VecDeque::new(), most: OPENING, unfinished }
    }

    /// From now on packets may have so many bytes.
    pub(super) fn allow(&mut self, most: usize) {
        self.most = most;
        self.io.allow(most);
    }

    /// The first packet, which must be a CONNECT of a version that is spoken here: else that is answered, if there are
    /// words for it.
    pub(super) async fn connect(&mut self, link: &Link) -> Result<Packet, End> {
        let whole = loop {
            if self.bytes.first().is_some_and(|first| *first != frame::CONNECT) {
                return Err(End::Fault(MqttError::ProtocolError));
            }
            match frame::next(&self.bytes, self.most) {
                Next::Whole(whole) => break whole,
                Next::Part => self.fill(link).await?,
                Next::Wrong => return Err(End::Fault(MqttError::PacketTooLarge)),
                Next::Endless => return Err(End::Fault(MqttError::MalformedPacket)),
            }
        };
        if let Err(refused) = frame::check(self.bytes.get(..whole).unwrap_or_default()) {
            link.push(refused.0);
            return Err(End::Fault(MqttError::UnsupportedProtocolVersion));
        }
        self.next(link).await
    }

    /// Whether the next packet is there as a whole.
    pub(super) fn is_at_hand(&self) -> bool {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        !self.packets.is_empty() || matches!(frame::next(rest, self.most), Next::Whole(_))
    }

    /// The next packet.
    pub(super) async fn next(&mut self, link: &Link) -> Result<Packet, End> {
        loop {
            if let Some(packet) = self.packets.pop_front() {
                return Ok(packet);
            }
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let length = match frame::next(rest, self.most) {
                Next::Part => {
                    self.fill(link).await?;
                    continue;
                }
                Next::Whole(length) => {
                    self.unfinished.end();
                    rest.first().map_or(Ok(()), |first| strict::check_flags(*first)).map_err(End::Fault)?;
                    length
                }
                // What is wrong is for the protocol to say, which needs no more than the beginning.
                Next::Wrong => rest.len(),
                Next::Endless => return Err(End::Fault(MqttError::MalformedPacket)),
            };
            let mut cursor = Cursor::new(rest.get(..length).unwrap_or_default());
            let received = link.receive(&mut cursor);
            self.at += length;
            self.packets.extend(received.packets);
            if let Some(error) = received.fault {
                return Err(End::Fault(error));
            }
        }
    }

    /// Reads more, behind what has come of a packet.
    async fn fill(&mut self, link: &Link) -> Result<(), End> {
        self.bytes.drain(..self.at);
        self.at = 0;
        let held = self.bytes.len();
        if held == 0 {
            self.unfinished.end();
            self.bytes.shrink_to(READ);
        } else if held > READ && !self.unfinished.grow(held as u64) {
            return Err(self.refused());
        }
        self.bytes.reserve(if held > READ { READ_ON } else { READ });
        let Self { io, bytes, unfinished, .. } = self;
        let late = poll_fn(|cx| match held > 0 && unfinished.late(cx) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        });
        let read = async {
            tokio::select! {
                biased;
                read = io.read_buf(bytes) => Some(read),
                () = late => None,
            }
        };
        let read = match link.deadline() {
            Some(deadline) => timeout_at(deadline.into(), read).await.map_err(|_| End::Late)?,
            None => read.await,
        };
        match read {
            Some(Ok(1..)) => Ok(()),
            Some(_) => Err(End::Gone),
            None => {
                let (_, reason) = self.unfinished.lateness();
                self.forget();
                Err(End::Unfinished(DisconnectReasonCode::AdministrativeAction, reason))
            }
        }
    }

    fn refused(&mut self) -> End {
        let reason = self.unfinished.refusal().map(|(_, reason)| reason).unwrap_or_default();
        self.forget();
        End::Unfinished(DisconnectReasonCode::QuotaExceeded, reason)
    }

    /// What has come in part is let go before the peer is told.
    fn forget(&mut self) {
        self.bytes = Vec::new();
        self.unfinished.end();
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
