//! The file of the log, and those of the days before.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use weir_contract::time::rfc3339;

use super::Line;

/// The file of the day.
const NAME: &str = "device_server.log";
const DAY_US: u64 = 24 * 60 * 60 * 1_000_000;
/// Bytes written at once, or one line if it is longer.
const CHUNK: usize = 64 * 1024;
/// Files of one day beyond the first: more would mean that somebody turns the clock back again and again.
const MOST_OF_A_DAY: u32 = 1_000;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Writes lines, and begins a new file every day (UTC). Files of days before are kept as
/// `device_server.log.YYYY-MM-DD`, for ever.
#[derive(Debug)]
pub(super) struct Book {
    folder: PathBuf,
    file: File,
    /// Of the lines in the file, as days since 1970.
    day: u64,
    /// The last line's time.
    last_us: u64,
    /// Lines that are missing at the end of the file.
    missing: u64,
    /// The file may end within a line.
    torn: bool,
}

impl Book {
    /// Goes on with the file of the day, or of the day on which it was written last. Only its owner may read it: it
    /// holds whatever devices are told, passwords too.
    pub(super) fn open(folder: &Path, now_us: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let file = open(folder)?;
        let metadata = file.metadata()?;
        let written = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let day = match metadata.len() {
            0 => now_us / DAY_US,
            _ => written.as_secs() / (DAY_US / 1_000_000),
        };
        Ok(Self { folder: folder.to_owned(), file, day, last_us: now_us, missing: 0, torn: false })
    }

    /// Writes all lines. Those that cannot be written are counted as missing.
    pub(super) fn write(&mut self, lines: &[Line]) {
        let (mut chunk, mut count) = (Vec::new(), 0);
        for line in lines {
            let day = line.us / DAY_US;
            if day > self.day || chunk.len() >= CHUNK {
                self.append(&mut chunk, &mut count);
            }
            if day > self.day {
                self.turn(day);
            }
            put(&mut chunk, line.us, &line.text);
            self.last_us = line.us;
            count += 1;
        }
        self.append(&mut chunk, &mut count);
    }

    /// So many lines are missing here. It is said in the file before the next line.
    pub(super) fn missed(&mut self, lines: u64) {
        if lines > 0 {
            tracing::warn!(lines, "paikea's log is too slow: lines are left out");
            self.missing += lines;
        }
    }

    /// Says what is missing, and leaves the file on the disk.
    pub(super) fn close(mut self) {
        self.append(&mut Vec::new(), &mut 0);
        if let Err(error) = self.file.sync_data() {
            tracing::warn!(%error, "paikea's log may not be on the disk");
        }
    }

    fn append(&mut self, chunk: &mut Vec<u8>, count: &mut u64) {
        let lines = std::mem::take(count);
        let mut bytes = std::mem::take(chunk);
        if self.missing > 0 {
            let mut before = if self.torn { vec![b'\n'] } else { Vec::new() };
            put(&mut before, self.last_us, &format!("{} lines are missing here", self.missing));
            before.append(&mut bytes);
            bytes = before;
        }
        match self.file.write_all(&bytes) {
            Ok(()) => (self.missing, self.torn) = (0, false),
            Err(error) => {
                if self.missing == 0 {
                    tracing::warn!(%error, "paikea's log cannot be written: its lines are missing");
                }
                (self.missing, self.torn) = (self.missing + lines, true);
            }
        }
    }

    /// Puts the file away under its day, and begins another.
    fn turn(&mut self, day: u64) {
        let date = rfc3339(self.day.saturating_mul(DAY_US)).get(..10).unwrap_or_default().to_owned();
        let turned = self.free_name(&date).and_then(|name| {
            std::fs::rename(self.folder.join(NAME), name)?;
            open(&self.folder)
        });
        match turned {
            Ok(file) => self.file = file,
            Err(error) => tracing::warn!(%error, "paikea's log goes on in the file of the day before"),
        }
        self.day = day;
    }

    /// No file that is there is written over.
    fn free_name(&self, date: &str) -> io::Result<PathBuf> {
        let plain = self.folder.join(format!("{NAME}.{date}"));
        let more = (1..MOST_OF_A_DAY).map(|number| self.folder.join(format!("{NAME}.{date}.{number}")));
        let mut names = std::iter::once(plain).chain(more);
        names.find(|name| !name.exists()).ok_or_else(|| io::ErrorKind::AlreadyExists.into())
    }
}

fn open(folder: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(folder.join(NAME))
}

/// A line, in UTC. Its text stands as it is.
fn put(out: &mut Vec<u8>, us: u64, text: &str) {
    let time = rfc3339(us);
    let part = |range| time.get(range).unwrap_or_default();
    let month = part(5..7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
    let (month, process) = (month.copied().unwrap_or_default(), std::process::id());
    let (day, clock) = (part(8..10), part(11..19));
    out.extend_from_slice(format!("{month} {day} {clock} device_server [{process}]: {text}\n").as_bytes());
}
