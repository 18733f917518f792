//! The two halves of a connection to the broker.

use std::io;
use std::time::Duration;

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::packet::Packet;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;

use super::link::Link;

/// Bytes of one read.
const READ: usize = 16 * 1024;

/// What is spoken over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) struct Reader {
    io: ReadHalf<Box<dyn Stream>>,
    bytes: Vec<u8>,
    at: usize,
}

impl Reader {
    pub(super) fn new(io: ReadHalf<Box<dyn Stream>>) -> Self {
        Self { io, bytes: Vec::new(), at: 0 }
    }

    /// The next packet. The broker must have sent something within `silence`. The error says how reading ended.
    pub(super) async fn next(&mut self, link: &Link, silence: Duration) -> Result<Packet, String> {
        loop {
            if let Some(rest) = self.bytes.get(self.at..).filter(|rest| !rest.is_empty()) {
                let mut cursor = Cursor::new(rest);
                let received = link.receive(&mut cursor);
                self.at += usize::try_from(cursor.position()).unwrap_or(usize::MAX);
                match received.map_err(|error| format!("it breaks the protocol: {error}"))? {
                    Some(packet) => return Ok(packet),
                    None => continue,
                }
            }
            self.at = 0;
            self.bytes.clear();
            self.bytes.reserve(READ);
            match timeout(silence, self.io.read_buf(&mut self.bytes)).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0)) => return Err("it has closed the connection".into()),
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err(format!("it has said nothing for {silence:?}")),
            }
        }
    }
}

pub(super) struct Writer {
    io: WriteHalf<Box<dyn Stream>>,
    bytes: Vec<u8>,
    at: usize,
}

impl Writer {
    pub(super) fn new(io: WriteHalf<Box<dyn Stream>>) -> Self {
        Self { io, bytes: Vec::new(), at: 0 }
    }

    /// Writes what waits. False: nothing comes after it. May be dropped, and another one goes on.
    pub(super) async fn write(&mut self, link: &Link) -> io::Result<bool> {
        loop {
            let open = link.take(&mut self.bytes);
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            if rest.is_empty() {
                self.at = 0;
                self.bytes.clear();
                self.bytes.shrink_to(READ);
                self.io.flush().await?;
                return Ok(open);
            }
            match self.io.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.at += written,
            }
        }
    }

    /// Writes the last bytes, and tells the broker that nothing more comes.
    pub(super) async fn finish(&mut self, link: &Link) -> io::Result<()> {
        self.write(link).await?;
        self.io.shutdown().await
    }
}
