//! Standard output and error of a guest: the last 8 KiB are kept for the text of a panic, whole lines go to
//! the router's log within the binding's rate.
//!
//! Always ready for more: a stream with a capacity would make the guest trap once it is full.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::Shared;
use crate::plugin::contract::LogLevel;
use crate::plugin::imports::logging::{LogGate, write_line};

/// Bytes kept.
const KEPT: usize = 8 * 1024;

/// A guest's console. Clones write to the same one.
#[derive(Clone)]
pub struct Console {
    tail: Arc<Mutex<Vec<u8>>>,
    line: Arc<Mutex<Vec<u8>>>,
    written: Arc<AtomicBool>,
    from: Arc<Source>,
}

struct Source {
    binding: Arc<str>,
    version: Arc<str>,
    kind: &'static str,
    gate: Arc<LogGate>,
}

impl Console {
    /// An empty console.
    pub fn new(shared: &Shared) -> Self {
        Self {
            tail: Arc::default(),
            line: Arc::default(),
            written: Arc::default(),
            from: Arc::new(Source {
                binding: Arc::clone(&shared.binding),
                version: Arc::clone(&shared.version),
                kind: shared.kind.as_str(),
                gate: Arc::clone(&shared.gate),
            }),
        }
    }

    /// Forgets what was written, so that a failure is told in its own words and not in those of the call before.
    pub fn clear(&self) {
        if self.written.swap(false, Ordering::Relaxed) {
            self.tail.lock().clear();
        }
    }

    /// What was written last, and forgets it.
    pub fn take_tail(&self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut *self.tail.lock())).trim().to_owned()
    }

    fn push(&self, bytes: &[u8]) {
        self.written.store(true, Ordering::Relaxed);
        let mut tail = self.tail.lock();
        tail.extend_from_slice(bytes);
        let excess = tail.len().saturating_sub(KEPT);
        tail.drain(..excess);
        drop(tail);
        let mut line = self.line.lock();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = KEPT.saturating_sub(line.len());
            line.extend(part.iter().take(room).filter(|byte| **byte != b'\n'));
            if part.ends_with(b"\n") {
                let text = String::from_utf8_lossy(&line).into_owned();
                line.clear();
                let from = &self.from;
                if !text.trim().is_empty() {
                    write_line(
                        &from.gate,
                        &from.binding,
                        &from.version,
                        from.kind,
                        LogLevel::Info,
                        &text,
                        "",
                    );
                }
            }
        }
    }
}

impl IsTerminal for Console {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Console {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Console {
    async fn ready(&mut self) {}
}

impl OutputStream for Console {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 * 1024)
    }
}

impl AsyncWrite for Console {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
