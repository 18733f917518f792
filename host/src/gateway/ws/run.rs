//! The life of one connection, from the upgrade to the last byte.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::reader::{End, Incoming, Reader};
use super::silence::Silence;
use super::writer::Writer;
use super::{Connection, Encode, EncodeRun};
use crate::config::Limits;
use crate::gateway::lease::Lease;
use crate::gateway::stall::Stall;
use crate::gateway::stream::Upgraded;
use crate::gateway::unfinished::Unfinished;

/// How long the peer may take to answer our close, and to close the socket; and how long answers that are due to it
/// may take when it is the one that closes.
const LINGER: Duration = Duration::from_secs(2);

/// Said to the peer when the router stops (close code 1001).
pub(crate) const STOPPING: &str = "the router is stopping";

/// A gateway's side of a connection.
pub(crate) trait Handler: Send {
    /// Writes deliveries.
    const ENCODE: Encode;

    /// Writes deliveries that go together; none: one by one.
    const ENCODE_RUN: Option<EncodeRun> = None;

    /// Most bytes of an incoming message.
    fn most_bytes(&self) -> usize;

    /// After this long without a byte from the peer it is pinged, and after as long again it is gone; none: it is
    /// never pinged.
    fn silence(&self, limits: &Limits) -> Option<Duration> {
        Some(limits.silence)
    }

    /// Takes a message. Nothing more is read until this is done.
    fn text(&mut self, text: Utf8Bytes) -> impl Future<Output = Next> + Send;

    /// Sees to what [`Next::More`] has put off.
    fn settle(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Gives up what was put off: the connection ends.
    fn give_up(&mut self) {}

    /// Takes a binary message, likewise.
    fn binary(&mut self, _: Bytes) -> impl Future<Output = Next> + Send {
        std::future::ready(Next::Close(1003, "frames are text, this one is binary"))
    }
}

/// What follows on a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next one, as soon as there is room for answers.
    Read,
    /// The next one if it is at hand; else [`Handler::settle`] comes first.
    More,
    /// The end, with this close code (RFC 6455 section 7.4) and reason, behind all that waits for the peer.
    Close(u16, &'static str),
    /// The connection is cut without a word, as some protocols have it.
    Cut,
}

/// The halves of the socket, and the bytes that came with the handshake.
pub(super) struct Socket<R, W> {
    pub(super) read: R,
    pub(super) write: W,
    pub(super) early: Vec<u8>,
}

/// How reading and writing ended.
enum Ended {
    Reading(End),
    Writing(io::Result<()>),
    Stopping,
}

/// Runs the connection until it has ended.
pub(crate) async fn run<H: Handler>(
    connection: &Connection,
    upgraded: super::handshake::Opened,
    handler: H,
    limits: &Limits,
    lease: &Lease,
) {
    let early = upgraded.early;
    match upgraded.stream {
        Upgraded::Plain(mut stream) => {
            let (read, write) = stream.split();
            let write = Stall::new(write, limits.write);
            converse(connection, Socket { read, write, early }, handler, limits, lease).await;
        }
        Upgraded::Sealed(stream) => {
            let (read, write) = tokio::io::split(stream);
            // Boxed, since a plain connection would have room for it too.
            Box::pin(converse(connection, Socket { read, write, early }, handler, limits, lease)).await;
        }
    }
}

pub(super) async fn converse<H: Handler, R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    connection: &Connection,
    socket: Socket<R, W>,
    mut handler: H,
    limits: &Limits,
    lease: &Lease,
) {
    let unfinished = Unfinished::new(Arc::clone(&connection.metrics), limits);
    let mut reader = Reader::new(socket.read, socket.early, handler.most_bytes(), unfinished);
    let mut writer = Writer::new::<H>(socket.write, Arc::clone(&connection.metrics), limits.write);
    let ended = tokio::select! {
        biased;
        end = take_in(&mut reader, connection, &mut handler, limits) => Ended::Reading(end),
        result = writer.run(connection) => Ended::Writing(result),
        () = lease.shutdown() => Ended::Stopping,
    };
    handler.give_up();
    let failed = matches!(ended, Ended::Reading(End::Failed(..)));
    if matches!(ended, Ended::Stopping) {
        writer.stop(lease);
    }
    if say_goodbye(connection, &mut writer, ended, limits).await.is_ok() {
        // A peer that does not go by itself is left behind.
        let _ = tokio::time::timeout(LINGER, part(connection, &mut reader, &mut writer, failed)).await;
    }
}

/// Ends the socket after our close frame. A peer that broke the protocol is not listened to any more.
async fn part<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    connection: &Connection,
    reader: &mut Reader<R>,
    writer: &mut Writer<W>,
    failed: bool,
) {
    let mut agreed = false;
    while !failed && !agreed {
        match reader.next(&connection.control).await {
            Ok(_) => {}
            Err(End::Closed(_)) => agreed = true,
            Err(_) => break,
        }
    }
    writer.shutdown().await;
    // After a close from both sides nothing can follow.
    if !agreed {
        reader.discard().await;
    }
}

/// Hands over one message after the other, as long as there is room for answers.
async fn take_in<R: AsyncRead + Unpin>(
    reader: &mut Reader<R>,
    connection: &Connection,
    handler: &mut impl Handler,
    limits: &Limits,
) -> End {
    let mut silence = Silence::new(handler.silence(limits));
    loop {
        let incoming = match reader.at_hand(&connection.control).await {
            Some(incoming) => incoming,
            None => {
                handler.settle().await;
                connection.room().await;
                silence.next(reader, &connection.control).await
            }
        };
        let incoming = match incoming {
            Ok(incoming) => incoming,
            Err(end) => {
                handler.settle().await;
                return end;
            }
        };
        connection.metrics.bytes_in.inc_by(incoming.len() as u64);
        let next = match incoming {
            Incoming::Text(text) => handler.text(text).await,
            Incoming::Binary(bytes) => handler.binary(bytes).await,
        };
        match next {
            Next::More => {}
            Next::Read => {
                handler.settle().await;
                connection.room().await;
            }
            Next::Close(code, reason) => {
                handler.settle().await;
                return End::Failed(code, reason.into());
            }
            Next::Cut => return End::Gone,
        }
    }
}

/// Sends the close frame that the end calls for. `Err`: none could be sent.
async fn say_goodbye<W: AsyncWrite + Unpin>(
    connection: &Connection,
    writer: &mut Writer<W>,
    ended: Ended,
    limits: &Limits,
) -> io::Result<()> {
    let outbound = &connection.session().outbound;
    let finish = async {
        match ended {
            Ended::Writing(result) => return result,
            Ended::Reading(End::Gone) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ended::Reading(End::Closed(frame)) => return part_from(connection, writer, frame).await,
            Ended::Reading(End::Ended) => return part_from(connection, writer, None).await,
            Ended::Reading(End::Failed(code, reason)) => outbound.close(code, reason),
            Ended::Stopping => {
                // What was published is answered first.
                if let Some(ended) = settle(connection, writer).await {
                    return ended;
                }
                outbound.close(1001, STOPPING);
            }
        }
        writer.run(connection).await
    };
    let result = tokio::time::timeout(limits.write, finish).await;
    // However it ended, nothing more shall be queued.
    outbound.close(1000, "");
    result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Writes until all answers have come. `Some`: writing has ended before.
async fn settle<W: AsyncWrite + Unpin>(
    connection: &Connection,
    writer: &mut Writer<W>,
) -> Option<io::Result<()>> {
    tokio::select! {
        () = connection.settled() => None,
        result = writer.run(connection) => Some(result),
    }
}

/// Ends what the peer has ended. RFC 6455 section 5.5.1 lets us finish what we are about before we answer its close:
/// it hears what became of what it published before.
async fn part_from<W: AsyncWrite + Unpin>(
    connection: &Connection,
    writer: &mut Writer<W>,
    close: Option<CloseFrame>,
) -> io::Result<()> {
    if let Ok(Some(ended)) = tokio::time::timeout(LINGER, settle(connection, writer)).await {
        return ended;
    }
    connection.session().outbound.close(1000, "");
    writer.answer_close(connection, close).await
}
