//! The writing half. Its state is here and not in its futures, so any of them may be dropped and another one go on.

use std::collections::VecDeque;
use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::deliver::Delivered;
use super::link::Link;
use super::talk::Talk;
use crate::session::{Item, Outbound};

/// Bytes beyond which no more messages are encoded before some are written.
const BATCH: usize = 64 * 1024;

pub(super) struct Writer<W> {
    io: W,
    bytes: Vec<u8>,
    at: usize,
    /// Taken from the session's queue, and waiting for room in flight.
    items: VecDeque<Item>,
    /// Why the session was closed.
    reason: Option<String>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(io: W) -> Self {
        Self { io, bytes: Vec::new(), at: 0, items: VecDeque::new(), reason: None }
    }

    /// Writes what waits for the client until nothing comes after it.
    pub(super) async fn run(&mut self, talk: &Talk) -> io::Result<()> {
        loop {
            let blocked = self.fill(talk);
            let before = self.bytes.len();
            let open = talk.link.take(&mut self.bytes);
            talk.metrics.bytes_out.inc_by((self.bytes.len() - before) as u64);
            if self.write().await? {
                continue;
            }
            if !open {
                return Ok(());
            }
            self.io.flush().await?;
            let outbound = &talk.visit.session().outbound;
            tokio::select! {
                () = talk.link.changed() => {}
                () = outbound.take(&mut self.items), if !blocked => {}
            }
        }
    }

    /// Encodes messages as far as there is room. True: some wait for acknowledgements of the client.
    fn fill(&mut self, talk: &Talk) -> bool {
        let version = talk.link.version();
        let outbound = &talk.visit.session().outbound;
        while talk.link.waiting() < BATCH {
            if self.items.is_empty() && !outbound.try_take(&mut self.items) {
                return false;
            }
            if matches!(self.items.front(), Some(Item::Message(_))) && !talk.has_vacancy() {
                return true;
            }
            match self.items.pop_front() {
                Some(Item::Message(routed)) if outbound.expires(&routed) => {
                    talk.metrics.expired.inc();
                    talk.done(&routed);
                }
                Some(Item::Message(routed)) => {
                    if let Delivered::Yes = talk.deliver(version, &routed) {
                        talk.metrics.messages_out.inc();
                    }
                }
                // It is seen by whoever waits for it, who asks for the reason.
                Some(Item::Close(_, reason)) => self.reason = Some(reason),
                // The protocol has no words for them.
                Some(Item::Control(_) | Item::Gap(_)) | None => {}
            }
        }
        false
    }

    /// Writes a part of what waits. False: nothing does.
    async fn write(&mut self) -> io::Result<bool> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            self.at = 0;
            self.bytes.clear();
            self.bytes.shrink_to(BATCH);
            return Ok(false);
        }
        match self.io.write(rest).await? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            written => {
                self.at += written;
                Ok(true)
            }
        }
    }

    /// Writes the last bytes, and tells the peer that nothing more comes.
    pub(super) async fn finish(&mut self, link: &Link) -> io::Result<()> {
        link.take(&mut self.bytes);
        while self.write().await? {}
        self.io.flush().await?;
        self.io.shutdown().await
    }

    /// Why the session was closed.
    pub(super) fn reason(&mut self, outbound: &Outbound) -> String {
        while outbound.try_take(&mut self.items) {}
        let reason = self.items.drain(..).find_map(|item| match item {
            Item::Close(_, reason) => Some(reason),
            _ => None,
        });
        self.reason.take().or(reason).unwrap_or_default()
    }
}
