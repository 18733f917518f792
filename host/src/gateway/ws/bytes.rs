//! A WebSocket as a stream of bytes, for protocols that have packets of their own: messages are binary, and where one ends
//! means nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::control::Control;
use super::frame;
use super::reader::{End, Incoming, Reader};
use crate::gateway::unfinished::Unfinished;

/// Bytes of one frame that is sent.
const FRAME: usize = 64 * 1024;
/// Memory that an idle connection keeps.
const IDLE: usize = 4 * 1024;

/// The reading half.
pub(crate) struct ByteReader<R> {
    reader: Reader<R>,
    shared: Arc<Shared>,
    /// Of a message that is there.
    rest: Bytes,
    ended: bool,
}

/// The writing half. Ends with a close frame.
pub(crate) struct ByteWriter<W> {
    io: W,
    shared: Arc<Shared>,
    /// Frames on their way, of which so many bytes are written.
    out: Vec<u8>,
    at: usize,
    closing: bool,
}

/// Tells when a pong is to be sent: a flush of the writing half does it.
pub(crate) struct Pongs(Arc<Shared>);

#[derive(Default)]
struct Shared {
    control: Control,
    /// The close frame that the end calls for; none: nothing is wrong.
    close: Mutex<Option<Bytes>>,
}

/// `early`: bytes that arrived together with the handshake. `most`: bytes of an incoming message.
pub(crate) fn bytes<R: AsyncRead + Unpin, W>(
    (read, write): (R, W),
    early: Vec<u8>,
    most: usize,
    unfinished: Unfinished,
) -> (ByteReader<R>, ByteWriter<W>, Pongs) {
    let shared = Arc::<Shared>::default();
    let reader = Reader::new(read, early, most, unfinished);
    (
        ByteReader { reader, shared: Arc::clone(&shared), rest: Bytes::new(), ended: false },
        ByteWriter { io: write, shared: Arc::clone(&shared), out: Vec::new(), at: 0, closing: false },
        Pongs(shared),
    )
}

impl Pongs {
    pub(crate) async fn due(&self) {
        self.0.control.ready().await;
    }
}

impl<R: AsyncRead + Unpin> ByteReader<R> {
    /// From now on so many bytes may be in one message.
    pub(crate) fn allow(&mut self, most: usize) {
        self.reader.allow(most);
    }

    fn fail(&mut self, close: Bytes) -> Poll<io::Result<()>> {
        self.ended = true;
        self.shared.close.lock().get_or_insert(close);
        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for ByteReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.rest.is_empty() {
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            match ready!(this.reader.poll_next(cx, &this.shared.control)) {
                Ok(Incoming::Binary(bytes)) => this.rest = bytes,
                Ok(Incoming::Text(_)) => {
                    return this.fail(frame::close(1003, "frames are binary, this one is text"));
                }
                Err(End::Failed(code, reason)) => return this.fail(frame::close(code, &reason)),
                Err(End::Closed(answer)) => {
                    this.ended = true;
                    let answer =
                        answer.map_or_else(frame::bare_close, |close| frame::close(close.code.into(), ""));
                    this.shared.close.lock().get_or_insert(answer);
                }
                Err(End::Gone | End::Ended) => this.ended = true,
            }
        }
        let taken = this.rest.len().min(buf.remaining());
        buf.put_slice(this.rest.get(..taken).unwrap_or_default());
        this.rest.advance(taken);
        if this.rest.is_empty() {
            // Else the message would be held until the next one.
            this.rest = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> ByteWriter<W> {
    /// Writes all frames that are on their way.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.at..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.at += written,
            }
        }
        self.at = 0;
        self.out.clear();
        self.out.shrink_to(IDLE);
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for ByteWriter<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_drain(cx))?;
        let part = buf.get(..buf.len().min(FRAME)).unwrap_or_default();
        frame::binary(part, &mut this.out);
        match this.poll_drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // What is left is written before all that follows.
            _ => Poll::Ready(Ok(part.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            ready!(this.poll_drain(cx))?;
            match this.shared.control.take() {
                Some(pongs) => this.out.extend_from_slice(&pongs),
                None => return Pin::new(&mut this.io).poll_flush(cx),
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.closing {
            let close = this.shared.close.lock().take().unwrap_or_else(|| frame::close(1000, ""));
            this.out.extend_from_slice(&close);
            this.closing = true;
        }
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn bytes_go_both_ways_however_they_are_cut() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (read, write) = tokio::io::split(near);
        let unfinished = Unfinished::new(
            crate::metrics::Metrics::new().gateway("mqtt"),
            &crate::config::Limits::default(),
        );
        let (mut reader, mut writer, pongs) = bytes((read, write), Vec::new(), 1 << 20, unfinished);
        // Two binary messages, the first in two frames with a ping between them, the mask all zeros.
        for frame in
            [&b"\x02\x83\0\0\0\0abc"[..], b"\x89\x81\0\0\0\0!", b"\x80\x81\0\0\0\0d", b"\x82\x82\0\0\0\0ef"]
        {
            far.write_all(frame).await.unwrap();
        }
        let mut came = [0; 6];
        reader.read_exact(&mut came).await.unwrap();
        assert_eq!(&came, b"abcdef");
        pongs.due().await;
        writer.flush().await.unwrap();
        let mut pong = [0; 3];
        far.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"\x8a\x01!");
        writer.write_all(&[7; 70_000]).await.unwrap();
        writer.flush().await.unwrap();
        let mut sent = vec![0; 10 + 65_536 + 4 + 4_464];
        far.read_exact(&mut sent).await.unwrap();
        assert_eq!(&sent[..10], &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(&sent[10 + 65_536..][..4], &[0x82, 126, 0x11, 0x70]);
        // A text is answered by the close that says so.
        far.write_all(b"\x81\x81\0\0\0\0x").await.unwrap();
        assert!(reader.read(&mut came).await.is_err());
        writer.shutdown().await.unwrap();
        let mut close = Vec::new();
        far.read_to_end(&mut close).await.unwrap();
        assert_eq!(&close[2..4], &1003_u16.to_be_bytes());
    }
}
