//! The reading half: bytes in, messages out, everything else judged.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes, error::ProtocolError};

use super::ahead::Ahead;
use super::control::Control;
use super::meter::Meter;
use crate::gateway::unfinished::Unfinished;

/// Bytes that the decoder takes at once. Most connections are idle most of the time, and each keeps this much.
const READ_BUFFER: usize = 4 * 1024;

/// Decodes what the peer sends.
pub(super) struct Reader<R> {
    io: Ahead<R>,
    context: WebSocketContext,
    meter: Meter,
    unfinished: Unfinished,
    /// The decoder has made room for a message that did not fit into the read buffer, and keeps it.
    swollen: bool,
    /// Bytes came since this was last asked.
    heard: bool,
}

/// What the peer said.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary one.
    Binary(Bytes),
}

impl Incoming {
    /// Bytes of the message.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// Why nothing more is to be read.
#[derive(Debug)]
pub(super) enum End {
    /// The peer went away without a word.
    Gone,
    /// The peer sends nothing more, and has not asked for the close: it may still listen.
    Ended,
    /// The peer asked for the close, or answered ours.
    Closed(Option<CloseFrame>),
    /// The peer did something wrong: close code and reason.
    Failed(u16, String),
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// `early`: bytes that arrived together with the handshake. `most`: bytes of a message.
    pub(super) fn new(io: R, early: Vec<u8>, most: usize, unfinished: Unfinished) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            // Only control frames are written through the context, and at once.
            .write_buffer_size(0)
            .max_write_buffer_size(1024)
            .max_message_size(Some(most))
            .max_frame_size(Some(most));
        let swollen = early.len() > READ_BUFFER;
        let mut meter = Meter::new();
        // If these few bytes overdo it already, the next read says so.
        meter.feed(&early);
        let context = WebSocketContext::from_partially_read(early, Role::Server, Some(config));
        let io = Ahead::new(io);
        Self { io, context, meter, unfinished, swollen, heard: false }
    }

    /// From now on so many bytes may be in one message.
    pub(super) fn allow(&mut self, most: usize) {
        self.context.set_config(|config| {
            config.max_message_size = Some(most);
            config.max_frame_size = Some(most);
        });
    }

    /// The next message. Pongs go to `control`.
    pub(super) async fn next(&mut self, control: &Control) -> Result<Incoming, End> {
        poll_fn(|cx| self.poll_next(cx, control)).await
    }

    /// The next message, if nothing need be waited for.
    pub(super) async fn at_hand(&mut self, control: &Control) -> Option<Result<Incoming, End>> {
        poll_fn(|cx| {
            Poll::Ready(match self.poll_next(cx, control) {
                Poll::Ready(incoming) => Some(incoming),
                Poll::Pending => None,
            })
        })
        .await
    }

    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        control: &Control,
    ) -> Poll<Result<Incoming, End>> {
        loop {
            let Self { io, context, meter, unfinished, swollen, heard } = self;
            let mut bridge = Bridge { io, meter, unfinished, swollen, heard, cx, control };
            let incoming = match context.read(&mut bridge) {
                Ok(Message::Text(text)) => Incoming::Text(text),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                Ok(Message::Binary(bytes)) => Incoming::Binary(bytes),
                Ok(Message::Close(frame)) => return Poll::Ready(Err(End::Closed(frame))),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.poll_rest(cx).map(Err);
                }
                Err(error) => return Poll::Ready(Err(self.judge(&error))),
            };
            self.unfinished.end();
            return Poll::Ready(Ok(incoming));
        }
    }

    /// Nothing more has come for now: of a message that is begun the rest must come in time.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if !self.meter.is_within() {
            self.unfinished.end();
            self.shrink();
        } else if self.unfinished.late(cx) {
            let (code, reason) = self.unfinished.lateness();
            return Poll::Ready(self.fail(code, reason));
        }
        Poll::Pending
    }

    /// The decoder would keep the room of its largest message for as long as the connection lasts. Between two
    /// messages it has nothing to remember, so another one takes its place.
    fn shrink(&mut self) {
        if self.swollen && self.context.can_write() {
            self.context = WebSocketContext::new(Role::Server, Some(*self.context.get_config()));
            self.swollen = false;
        }
    }

    /// Nothing more is read: what has come in part is let go before the peer is told.
    fn fail(&mut self, code: u16, reason: String) -> End {
        self.context = WebSocketContext::new(Role::Server, Some(*self.context.get_config()));
        self.unfinished.end();
        End::Failed(code, reason)
    }

    /// Whether the peer sent anything since this was last asked.
    pub(super) fn heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    fn judge(&mut self, error: &Error) -> End {
        if let Some(verdict) = self.meter.verdict() {
            return self.fail(1008, verdict.into());
        }
        if let Some((code, reason)) = self.unfinished.refusal() {
            return self.fail(code, reason);
        }
        match error {
            Error::ConnectionClosed => End::Closed(None),
            Error::Capacity(what) => self.fail(1009, what.to_string()),
            Error::Utf8(_) => self.fail(1007, "a text is not UTF-8".into()),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Ended,
            Error::Protocol(what) => self.fail(1002, what.to_string()),
            _ => End::Gone,
        }
    }

    /// Throws away whatever the peer still sends, until it closes its side. Closing the socket under data
    /// that was not read would reset the connection, and our close frame could be lost with it.
    pub(super) async fn discard(&mut self) {
        // On the stack of each call, not in the connection's memory.
        poll_fn(|cx| {
            let mut space = [0; 1024];
            loop {
                match self.io.poll_read(cx, &mut space) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
        })
        .await;
    }
}

/// What tungstenite takes for the socket: reads come from the socket, writes go to `control`.
struct Bridge<'a, 'b, R> {
    io: &'a mut Ahead<R>,
    meter: &'a mut Meter,
    unfinished: &'a mut Unfinished,
    swollen: &'a mut bool,
    heard: &'a mut bool,
    cx: &'a mut Context<'b>,
    control: &'a Control,
}

impl<R> Bridge<'_, '_, R> {
    /// Whether the message that is begun may be longer than the read buffer.
    fn has_room(&mut self) -> bool {
        let held = self.meter.held();
        if held <= READ_BUFFER as u64 {
            return true;
        }
        *self.swollen = true;
        self.unfinished.grow(held)
    }
}

impl<R: AsyncRead + Unpin> Read for Bridge<'_, '_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.io.poll_read(self.cx, buf) {
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(read))
                if self.meter.feed(buf.get(..read).unwrap_or_default()) && self.has_room() =>
            {
                *self.heard = true;
                Ok(read)
            }
            Poll::Ready(Ok(_)) => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl<R> Write for Bridge<'_, '_, R> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // tungstenite hands over whole frames, since we never take a part.
        self.control.push(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
