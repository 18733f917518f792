//! The writing half: takes all that waits and sends it in as few system calls as possible.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::connection::Connection;
use super::run::Handler;
use super::{Encode, EncodeRun, frame};
use crate::gateway::lease::Lease;
use crate::message::Run;
use crate::metrics::GatewayMetrics;
use crate::session::{Item, Load, Notice};

/// Pieces in one system call: frames, or runs of frames.
const WINDOW: usize = 64;

/// Places that the queue of taken items may keep while it is empty. A burst leaves it large, and an idle
/// connection should hold no memory for the bursts of its past.
const KEPT: usize = 64;

/// A peer that takes no byte for so long while the router stops is not waited for when all others are done.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sends frames. Its state is here and not in its futures, so any of them may be dropped and another
/// one go on.
pub(super) struct Writer<W> {
    io: W,
    encode: Encode,
    encode_run: Option<EncodeRun>,
    metrics: Arc<GatewayMetrics>,
    limit: Duration,
    loads: VecDeque<Load>,
    /// Whole frames, one or more in each piece.
    window: VecDeque<Bytes>,
    /// So many bytes of the window's first piece have been written.
    begun: usize,
    /// A close frame is the last in the window, or has been written.
    closed: bool,
    /// The router stops.
    stopping: Option<Lease>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// `limit`: the time for the close frame and what stands before it.
    pub(super) fn new<H: Handler>(io: W, metrics: Arc<GatewayMetrics>, limit: Duration) -> Self {
        let (encode, encode_run) = (H::ENCODE, H::ENCODE_RUN);
        let (loads, window) = (VecDeque::new(), VecDeque::new());
        let (begun, closed, stopping) = (0, false, None);
        Self { io, encode, encode_run, metrics, limit, loads, window, begun, closed, stopping }
    }

    /// From now on the listener is told when the peer takes nothing.
    pub(super) fn stop(&mut self, lease: &Lease) {
        self.stopping = Some(lease.clone());
    }

    /// Writes until the session's queue ends. `Ok`: the close frame has been written.
    pub(super) async fn run(&mut self, connection: &Connection) -> io::Result<()> {
        loop {
            self.fill(connection);
            if self.closed {
                return self.finish().await;
            } else if self.window.is_empty() {
                // Over TLS, what was written may not have left yet. Over TCP alone there is nothing to do.
                self.io.flush().await?;
                self.wait(connection).await;
            } else {
                self.write().await?;
            }
        }
    }

    /// Answers the peer's close, for which the session's queue has been closed. Of what waits, the answers go before
    /// it, and no message that is not in the window.
    pub(super) async fn answer_close(
        &mut self,
        connection: &Connection,
        frame: Option<CloseFrame>,
    ) -> io::Result<()> {
        if !self.closed {
            while connection.session().outbound.try_take_loads(&mut self.loads) {}
            self.closed = true;
            let answers = self.loads.drain(..).filter_map(|load| match load {
                Load::One(Item::Control(frame)) => Some(frame),
                _ => None,
            });
            self.window.extend(answers);
            self.window.push_back(match frame {
                Some(frame) => frame::close(frame.code.into(), &frame.reason),
                None => frame::bare_close(),
            });
        }
        self.finish().await
    }

    /// Writes what is in the window, the close frame at its end. Here progress is not enough: a peer that takes
    /// a byte now and then must not hold its place for hours.
    async fn finish(&mut self) -> io::Result<()> {
        let limit = self.limit;
        let rest = async {
            while !self.window.is_empty() {
                self.write().await?;
            }
            watched(self.stopping.as_ref(), self.io.flush()).await
        };
        tokio::time::timeout(limit, rest).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Tells the peer that nothing more comes.
    pub(super) async fn shutdown(&mut self) {
        // Whether this succeeds, the socket is closed next.
        let _ = self.io.shutdown().await;
    }

    async fn wait(&mut self, connection: &Connection) {
        if self.loads.capacity() > KEPT {
            self.loads.shrink_to(KEPT);
        }
        tokio::select! {
            biased;
            () = connection.session().outbound.take_loads(&mut self.loads) => connection.progressed(),
            () = connection.control.ready() => {}
        }
    }

    /// Moves what waits into the window.
    fn fill(&mut self, connection: &Connection) {
        if self.closed {
            return;
        }
        let outbound = &connection.session().outbound;
        if self.begun > 0 && outbound.is_closed() {
            self.cut_short(connection);
        } else if self.loads.is_empty() && outbound.try_take_loads(&mut self.loads) {
            connection.progressed();
        }
        if let Some(pongs) = connection.control.take() {
            self.window.insert(usize::from(self.begun > 0), pongs);
        }
        while self.window.len() < WINDOW {
            let item = match self.loads.pop_front() {
                Some(Load::One(item)) => item,
                Some(Load::Run(run)) => {
                    self.put_run(&run);
                    continue;
                }
                None => return,
            };
            match item {
                Item::Message(routed) if outbound.expires(&routed) => {
                    self.metrics.expired.inc();
                }
                Item::Message(routed) => {
                    self.metrics.messages_out.inc();
                    let frame = (self.encode)(&routed);
                    let ends = frame::is_close(&frame);
                    self.window.push_back(frame);
                    if ends {
                        return self.end();
                    }
                }
                Item::Control(frame) => self.window.push_back(frame),
                Item::Gap(gap) => {
                    let told = connection.session().notices.map(|encode| encode(Notice::Gap(&gap)));
                    // A protocol may have no words for it.
                    self.window.extend(told.filter(|frame| !frame.is_empty()));
                }
                Item::Close(code, reason) => {
                    self.window.push_back(frame::close(code, &reason));
                    return self.end();
                }
            }
        }
    }

    fn put_run(&mut self, run: &Run) {
        if let Some(encode_run) = self.encode_run {
            self.metrics.messages_out.inc_by(run.messages().len() as u64);
            self.window.push_back(encode_run(run));
        } else {
            let messages = run.messages().iter().cloned();
            messages.rev().for_each(|routed| self.loads.push_front(Load::One(Item::Message(routed))));
        }
    }

    /// The last frame of the window is a close frame.
    fn end(&mut self) {
        self.loads.clear();
        self.closed = true;
    }

    /// The session was closed while we were busy writing. If it was cut off (its queue overflowed, its key was
    /// revoked), what waits here is not worth the time of a slow peer, and may not be its any more.
    fn cut_short(&mut self, connection: &Connection) {
        let mut rest = VecDeque::new();
        // Nothing comes after the close.
        while connection.session().outbound.try_take_loads(&mut rest) {}
        if rest.is_empty() {
            return;
        }
        connection.progressed();
        if matches!(rest.back(), Some(Load::One(Item::Close(1008, _)))) {
            self.drop_unbegun();
            rest.retain(|load| matches!(load, Load::One(Item::Control(_) | Item::Close(..))));
        }
        self.loads.append(&mut rest);
    }

    fn drop_unbegun(&mut self) {
        self.loads.clear();
        self.window.truncate(usize::from(self.begun > 0));
        if let Some(begun) = self.window.front_mut() {
            begun.truncate(frame::end(begun, self.begun));
        }
    }

    /// Writes a part of the window.
    async fn write(&mut self) -> io::Result<()> {
        let write = poll_fn(|cx| {
            // On the stack of this call, not in the connection's memory.
            let mut slices = [IoSlice::new(&[]); WINDOW];
            for (slice, piece) in slices.iter_mut().zip(&self.window) {
                *slice = IoSlice::new(piece);
            }
            if let (Some(slice), Some(piece)) = (slices.first_mut(), self.window.front()) {
                *slice = IoSlice::new(piece.get(self.begun..).unwrap_or_default());
            }
            let used = slices.get(..self.window.len()).unwrap_or(&slices);
            Pin::new(&mut self.io).poll_write_vectored(cx, used)
        });
        let written = watched(self.stopping.as_ref(), write).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.metrics.bytes_out.inc_by(written as u64);
        self.advance(written);
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        while written > 0
            && let Some(first) = self.window.front()
        {
            let rest = first.len() - self.begun;
            if written < rest {
                self.begun += written;
                return;
            }
            written -= rest;
            self.window.pop_front();
            self.begun = 0;
        }
    }
}

/// Waits for the peer to take something.
async fn watched<T>(stopping: Option<&Lease>, taken: impl Future<Output = T>) -> T {
    let Some(lease) = stopping else { return taken.await };
    let mut taken = std::pin::pin!(taken);
    match tokio::time::timeout(PATIENCE, taken.as_mut()).await {
        Ok(result) => result,
        Err(_) => {
            let _stuck = lease.stuck();
            taken.await
        }
    }
}
