//! Reading ahead: a system call takes far more than the decoder does, and what it has not taken yet is the only
//! memory that a connection holds for it.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes of one system call.
const AHEAD: usize = 16 * 1024;

thread_local! {
    /// Where they arrive, for all connections of a thread.
    static SPACE: RefCell<Box<[u8]>> = RefCell::new(vec![0; AHEAD].into());
}

/// The reading half of a socket.
pub(super) struct Ahead<R> {
    io: R,
    /// What has arrived, of which so much is taken.
    arrived: Box<[u8]>,
    taken: usize,
}

impl<R: AsyncRead + Unpin> Ahead<R> {
    pub(super) fn new(io: R) -> Self {
        Self { io, arrived: Box::default(), taken: 0 }
    }

    /// Fills `into` as far as there is something. Ok(0): the peer sends nothing more.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.taken < self.arrived.len() {
            let rest = self.arrived.get(self.taken..).unwrap_or_default();
            let count = copy(rest, into);
            self.taken += count;
            if self.taken == self.arrived.len() {
                (self.arrived, self.taken) = (Box::default(), 0);
            }
            return Poll::Ready(Ok(count));
        }
        SPACE.with_borrow_mut(|space| {
            let mut buffer = ReadBuf::new(space);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            let count = copy(buffer.filled(), into);
            if let Some(rest) = buffer.filled().get(count..).filter(|rest| !rest.is_empty()) {
                self.arrived = rest.into();
            }
            Poll::Ready(Ok(count))
        })
    }
}

fn copy(from: &[u8], into: &mut [u8]) -> usize {
    let count = from.len().min(into.len());
    if let (Some(into), Some(from)) = (into.get_mut(..count), from.get(..count)) {
        into.copy_from_slice(from);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn all_bytes_come_in_order_in_whatever_pieces() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let sent: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        far.write_all(&sent).await.unwrap();
        drop(far);
        let (mut ahead, mut came, mut piece) = (Ahead::new(near), Vec::new(), [0; 4_097]);
        for length in (1..).step_by(711) {
            let piece = &mut piece[..1 + length % 4_096];
            match poll_fn(|cx| ahead.poll_read(cx, piece)).await.unwrap() {
                0 => break,
                count => came.extend_from_slice(&piece[..count]),
            }
        }
        assert_eq!(came, sent);
        assert!(ahead.arrived.is_empty(), "nothing is held when all is taken");
    }
}
