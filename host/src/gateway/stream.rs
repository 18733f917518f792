//! A connection as HTTP meets it: plain, or under TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::client_name;
use super::stall::Stall;
use super::tcp::{Tcp, Watch};

/// A socket under TLS. What must make progress is the socket: TLS may hold more than one write of it.
pub(super) type Sealed = TlsStream<Stall<Tcp>>;

/// What hyper reads and writes.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(Stall<Tcp>),
    /// Boxed: most connections are not this large.
    Sealed(Box<Sealed>),
}

/// What is left of it after an upgrade.
pub(super) enum Upgraded {
    Plain(TcpStream),
    Sealed(Box<Sealed>),
}

impl Stream {
    pub(super) fn watch(&self) -> Watch {
        match self {
            Self::Plain(stream) => stream.get().watch(),
            Self::Sealed(stream) => stream.get_ref().0.get().watch_closing(),
        }
    }

    /// The name in the certificate that the peer has shown, and that was verified.
    pub(super) fn tls_name(&self) -> Option<Arc<str>> {
        let Self::Sealed(stream) = self else { return None };
        let shown = stream.get_ref().1.peer_certificates()?.first()?;
        client_name::of(shown).map(Arc::from)
    }

    /// For a protocol with a write half of its own. None: it is being watched at this moment.
    pub(super) fn into_upgraded(self) -> Option<Upgraded> {
        match self {
            Self::Plain(stream) => stream.into_inner().into_inner().map(Upgraded::Plain),
            Self::Sealed(stream) => Some(Upgraded::Sealed(stream)),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Sealed(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Sealed(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Sealed(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Sealed(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Sealed(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
