//! The daily text log, in the lines of the original: all that devices and pages say, as they say it.
//!
//! ```text
//! Nov 21 07:55:53 device_server [30428]: > /iam1/ B
//! ```
//!
//! A thread of its own writes it, behind a bounded queue. When that is full, lines are left out and counted, and a line
//! says how many: no socket ever waits for the disk.

mod book;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use book::Book;

/// Bytes of lines that may wait.
const WAITING: usize = 8 << 20;
/// What a line takes beside its text.
const AROUND: usize = size_of::<Line>();

/// Tells the time, Unix microseconds.
pub(super) type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// The log. Dropping it waits until all that was said stands in the file.
pub(super) struct Log {
    clock: Clock,
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something is in the queue that was empty, or it has ended.
    ready: Condvar,
}

/// What waits to be written.
#[derive(Default)]
struct Queue {
    lines: Vec<Line>,
    bytes: usize,
    /// Lines left out behind those that wait.
    lost: u64,
    ended: bool,
}

/// One line, to be.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// Unix microseconds.
    us: u64,
    text: String,
}

impl Log {
    /// Opens `device_server.log` in the folder, which is made if need be, and writes its first line.
    pub(super) fn open(folder: &Path, clock: impl Fn() -> u64 + Send + Sync + 'static) -> io::Result<Self> {
        let book = Book::open(folder, clock()).map_err(|error| {
            let text = format!("paikea's log in the folder {}: {error}", folder.display());
            io::Error::new(error.kind(), text)
        })?;
        let shared = Arc::<Shared>::default();
        let queue = Arc::clone(&shared);
        let writer =
            std::thread::Builder::new().name("paikea-log".into()).spawn(move || keep(&queue, book))?;
        let log = Self { clock: Box::new(clock), shared, writer: Some(writer) };
        log.write("Device Server restarted".into());
        Ok(log)
    }

    /// Adds a line. Never waits for the disk.
    pub(super) fn write(&self, text: String) {
        let us = (self.clock)();
        if self.shared.queue.lock().push(Line { us, text }) {
            self.shared.ready.notify_one();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.queue.lock().ended = true;
        self.shared.ready.notify_one();
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

impl Queue {
    /// Adds a line, if there is room. True: it is the first one.
    fn push(&mut self, line: Line) -> bool {
        let bytes = line.text.len() + AROUND;
        // After one that was left out, all are, until somebody can be told how many.
        if self.lost > 0 || self.bytes + bytes > WAITING {
            self.lost += 1;
            return false;
        }
        self.bytes += bytes;
        self.lines.push(line);
        self.lines.len() == 1
    }

    /// All that waits, and how many lines are missing behind it.
    fn take(&mut self) -> (Vec<Line>, u64) {
        self.bytes = 0;
        (std::mem::take(&mut self.lines), std::mem::take(&mut self.lost))
    }
}

/// Writes what comes, until the log has ended.
fn keep(shared: &Shared, mut book: Book) {
    loop {
        let mut queue = shared.queue.lock();
        while queue.lines.is_empty() && !queue.ended {
            shared.ready.wait(&mut queue);
        }
        let ((lines, lost), ended) = (queue.take(), queue.ended);
        drop(queue);
        book.write(&lines);
        book.missed(lost);
        if ended {
            // What was pushed meanwhile came after the end.
            return book.close();
        }
    }
}

#[cfg(test)]
mod tests;
