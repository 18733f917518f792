//! The terminal. A thread of its own writes to it, so that a slow one holds nobody up: it sees the newest
//! table, and a bounded number of the lines said meanwhile.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Lines that wait for a slow terminal; at more, the oldest go.
const WAITING_LINES: usize = 200;
/// How long the end waits for a terminal that takes nothing.
const LAST_LINES: Duration = Duration::from_secs(3);

/// How the output looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// A terminal, on which a table can be drawn over the one before.
    pub live: bool,
    /// Whether colours are wanted.
    pub colour: bool,
}

impl Look {
    /// As standard output and the environment have it. See <https://no-color.org>.
    pub fn of_stdout() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        let live = std::io::stdout().is_terminal() && !dumb;
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { live, colour: live && !no_colour }
    }

    /// Time between two tables. Where they stay, fewer will do.
    pub fn redraw(self) -> Duration {
        if self.live { Duration::from_millis(250) } else { Duration::from_secs(2) }
    }

    /// Text in a colour or style of the terminal (`SGR` code), where colours are wanted.
    pub(super) fn paint(self, code: u8, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// What is shown.
pub struct Screen {
    look: Look,
    shared: Arc<Shared>,
    written: Mutex<Receiver<()>>,
}

#[derive(Default)]
struct Shared {
    next: Mutex<Next>,
    changed: Condvar,
}

/// What the writer has not taken yet.
#[derive(Default)]
struct Next {
    lines: VecDeque<String>,
    left_out: usize,
    table: Option<Vec<String>>,
    ended: bool,
}

impl Screen {
    /// Writes to `out` from a thread of its own.
    pub fn start(look: Look, mut out: impl Write + Send + 'static) -> Self {
        let shared = Arc::<Shared>::default();
        let (done, written) = sync_channel(1);
        let writers = Arc::clone(&shared);
        std::thread::spawn(move || {
            // Nobody looks any more at an output that cannot be written to.
            let _ = write_all(&writers, look, &mut out);
            let _ = done.send(());
        });
        Self { look, shared, written: Mutex::new(written) }
    }

    /// How it looks.
    pub fn look(&self) -> Look {
        self.look
    }

    /// A line that stays, above the table.
    pub fn say(&self, line: impl Into<String>) {
        let mut next = self.shared.next.lock();
        if next.lines.len() == WAITING_LINES {
            next.lines.pop_front();
            next.left_out += 1;
        }
        next.lines.push_back(line.into());
        self.shared.changed.notify_one();
    }

    /// The table as it is now; one that was not drawn yet is forgotten.
    pub fn table(&self, lines: Vec<String>) {
        self.shared.next.lock().table = Some(lines);
        self.shared.changed.notify_one();
    }

    /// Writes what is left; a terminal that takes nothing is given up after a while.
    pub fn finish(&self) {
        self.shared.next.lock().ended = true;
        self.shared.changed.notify_one();
        // Either way there is nothing left to do.
        let _ = self.written.lock().recv_timeout(LAST_LINES);
    }
}

fn write_all(shared: &Shared, look: Look, out: &mut impl Write) -> std::io::Result<()> {
    let mut shown = Vec::new();
    loop {
        let mut next = shared.next.lock();
        while next.lines.is_empty() && next.table.is_none() && !next.ended {
            shared.changed.wait(&mut next);
        }
        let Next { lines, left_out, table, ended } = std::mem::take(&mut *next);
        next.ended = ended;
        drop(next);
        let height = shown.len();
        let fresh = table.is_some();
        shown = table.unwrap_or(shown);
        // Where tables are drawn over each other, lines push the table down, and it has to follow them.
        let table = if fresh || look.live { shown.as_slice() } else { &[] };
        out.write_all(frame(look, &lines, left_out, table, height).as_bytes())?;
        out.flush()?;
        if ended {
            return Ok(());
        }
    }
}

/// The text that shows all this, below which the table stands. On a terminal the table before, of this
/// height, is overwritten line by line, and lines are not wrapped, else counting them would fail.
fn frame(look: Look, lines: &VecDeque<String>, left_out: usize, table: &[String], height: usize) -> String {
    let mut text = String::new();
    let end = if look.live { "\x1b[K\n" } else { "\n" };
    if look.live {
        text.push_str("\x1b[?7l");
        if height > 0 {
            text.push_str(&format!("\x1b[{height}A\r"));
        }
    }
    if left_out > 0 {
        text.push_str(&format!("({left_out} lines left out){end}"));
    }
    for line in lines.iter().chain(table) {
        text.push_str(line);
        text.push_str(end);
    }
    if look.live {
        // The table before may have been higher.
        text.push_str("\x1b[J\x1b[?7h");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { live: false, colour: false };
    const LIVE: Look = Look { live: true, colour: false };

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A terminal that takes nothing.
    struct Stuck;

    impl Write for Stuck {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            loop {
                std::thread::park();
            }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn plain_output_is_lines_only() {
        let paper = Paper::default();
        let screen = Screen::start(PLAIN, paper.clone());
        screen.say("one");
        screen.finish();
        assert_eq!(paper.0.lock().as_slice(), b"one\n");
    }

    #[test]
    fn a_table_is_drawn_over_the_one_before() {
        let table = ["a".to_owned(), "b".to_owned()];
        let text = frame(LIVE, &VecDeque::from(["said".to_owned()]), 0, &table, 2);
        assert_eq!(text, "\x1b[?7l\x1b[2A\rsaid\x1b[K\na\x1b[K\nb\x1b[K\n\x1b[J\x1b[?7h");
    }

    #[test]
    fn a_table_follows_the_lines_that_are_said() {
        for (look, wanted) in [(LIVE, 2), (PLAIN, 1)] {
            let paper = Paper::default();
            let screen = Screen::start(look, paper.clone());
            screen.table(vec!["table".into()]);
            while paper.0.lock().is_empty() {
                std::thread::yield_now();
            }
            screen.say("said");
            screen.finish();
            let text = String::from_utf8(paper.0.lock().clone()).unwrap();
            assert!(text.contains("said") && text.matches("table").count() >= wanted, "{text:?}");
            assert_eq!(look.live, text.rfind("table") > text.rfind("said"), "{text:?}");
        }
    }

    #[test]
    fn a_stuck_terminal_holds_nobody_up() {
        let screen = Screen::start(LIVE, Stuck);
        let begin = std::time::Instant::now();
        for number in 0..10_000 {
            screen.say(format!("line {number}"));
            screen.table(vec!["table".into()]);
        }
        assert!(begin.elapsed() < Duration::from_secs(1));
        assert!(screen.shared.next.lock().lines.len() <= WAITING_LINES);
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        assert_eq!(LIVE.paint(1, "x"), "x");
        assert_eq!(Look { live: true, colour: true }.paint(1, "x"), "\x1b[1mx\x1b[0m");
    }
}
