//! A connection's socket. Whoever answers a request may watch it: a peer that has sent its last byte may still wait
//! for the answer (`nc -N` does), or be gone, and only what is sent to it tells which.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use rustix::net::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// The socket, to be read and written by its one owner.
#[derive(Debug)]
pub(super) struct Tcp(Arc<TcpStream>);

/// Request extension: the socket, to be watched.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    stream: Weak<TcpStream>,
    /// The last bytes of the peer may be TLS saying that nothing follows: only the end itself tells.
    only_closing: bool,
}

impl Tcp {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(Arc::new(stream))
    }

    pub(super) fn watch(&self) -> Watch {
        Watch { stream: Arc::downgrade(&self.0), only_closing: false }
    }

    /// For a socket under TLS.
    pub(super) fn watch_closing(&self) -> Watch {
        Watch { stream: Arc::downgrade(&self.0), only_closing: true }
    }

    /// The socket alone. None: it is being watched at this moment.
    pub(super) fn into_inner(self) -> Option<TcpStream> {
        Arc::into_inner(self.0)
    }
}

impl Watch {
    /// Waits until the peer has sent its last byte, closed or half-closed. For ever, if it sends anything before.
    pub(crate) async fn finished(&self) {
        let Some(stream) = self.stream.upgrade() else { return };
        let ended = match self.only_closing {
            true => read_closed(&stream).await,
            false => !matches!(stream.peek(&mut [0]).await, Ok(1..)),
        };
        if !ended {
            std::future::pending().await
        }
    }

    /// Waits until the connection is broken. Of a peer that has closed, that shows once something was sent to it.
    pub(crate) async fn broken(&self) {
        if let Some(stream) = self.stream.upgrade() {
            // An error means that there is nothing to wait for.
            let _ = stream.ready(Interest::ERROR).await;
        }
    }
}

/// Waits until the peer has sent its last byte, whatever comes before. False: that cannot be known.
#[cfg(target_os = "linux")]
async fn read_closed(stream: &TcpStream) -> bool {
    // Of reading, this interest has only the end, for nobody sends urgent data.
    stream.ready(Interest::PRIORITY).await.is_ok_and(|ready| ready.is_read_closed())
}

#[cfg(not(target_os = "linux"))]
async fn read_closed(_: &TcpStream) -> bool {
    false
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write_vectored(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(rustix::net::shutdown(&*self.0, Shutdown::Write).map_err(Into::into))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_last_byte_is_known_by_what_follows_or_under_tls_by_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let own = Tcp::new(listener.accept().await.unwrap().0);
        let (plain, sealed) = (own.watch(), own.watch_closing());
        assert!(plain.finished().now_or_never().is_none() && sealed.finished().now_or_never().is_none());
        peer.write_all(b"bye").await.unwrap();
        own.0.readable().await.unwrap();
        assert!(sealed.finished().now_or_never().is_none(), "it may be all that follows");
        peer.shutdown().await.unwrap();
        tokio::time::timeout(Duration::from_secs(60), sealed.finished()).await.unwrap();
        assert!(plain.finished().now_or_never().is_none(), "there is something to read");
    }
}
