//! `weir log`: what the logs hold, and messages out of them and into them.

mod keeper;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use clap::{Args, Subcommand};
use tokio::sync::mpsc;

use super::settings::{Listing, Place};
use super::table::{list, table, time};
use super::{print, say};
use crate::admin::{Export, Exported, LogInfo, LogStat, OtherLog};
use crate::telemetry::escape;
use keeper::Keeper;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show all logs: how much they hold, how long it is kept, who still reads it, and what went wrong
    List(Listing),
    /// Show one log in detail
    Stat(Stat),
    /// Write messages as lines of JSON
    ///
    /// One object a message: `log`, `epoch`, `offset`, `topic`, `id`, `time_us`, `name`, `origin`, `content_type`,
    /// and as base64 `meta` (all of the metadata, packed) and `payload`, as they stand in the log. The last line
    /// says how many there were (`exported`) and what could not be read: a file without it was cut off. Ends at
    /// the newest message of its beginning.
    Export(ExportArgs),
    /// Append messages of an export to a log
    ///
    /// They get new offsets and keep their id, time, publisher and headers; of each line only `topic`, `meta` and
    /// `payload` count. They come to storage plugins, history, and readers that resume, as all of a log does. They
    /// do not pass plugins, are not delivered to those who are connected, and do not become retained messages.
    /// Every topic must be one of the log's. Batches of up to 1000 messages are on the disk before the next is
    /// begun; at a line that is wrong nothing of its batch is imported, and the error says how many were before.
    /// Imported twice, they are there twice. When the last line of the export is missing or says another number, what
    /// there was is imported, and the command fails.
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(super) struct Stat {
    /// As `weir log list` shows it
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// As `weir log list` shows it
    name: String,
    /// First offset [default: the oldest]
    #[arg(long, value_name = "OFFSET")]
    since: Option<u64>,
    /// The offset after the last [default: all that is there]
    #[arg(long, value_name = "OFFSET")]
    until: Option<u64>,
    /// Only topics that match
    #[arg(long, value_name = "PATTERN")]
    topic: Option<String>,
    /// Write into this file, which must not be there [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// As `weir log list` shows it
    name: String,
    /// Read from this file [default: standard input]
    file: Option<PathBuf>,
    /// Accept lines that are not a whole export: without the last line, which says how many there are, or not so many
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(verb: &Verb) -> anyhow::Result<()> {
    match verb {
        Verb::List(args) => show(args).await,
        Verb::Stat(args) => stat(args).await,
        Verb::Export(args) => export(args).await,
        Verb::Import(args) => import(args).await,
    }
}

async fn show(args: &Listing) -> anyhow::Result<()> {
    let keeper = Keeper::find(&args.place).await?;
    let found = keeper.list().await?;
    keeper.close()?;
    if args.json {
        return print(&serde_json::to_string(&found)?);
    }
    let heading =
        ["NAME", "MESSAGES", "BYTES", "SEGMENTS", "OLDEST", "NEXT", "EPOCH", "KEPT", "READ BY", "TOPICS"];
    let mut text = table(heading, found.logs.iter().map(row));
    for other in found.others {
        let OtherLog { name, bytes } = other;
        text.push_str(&format!(
            "\n{}: {bytes} bytes, kept and not read: no [[log]] has this name",
            escape(&name)
        ));
    }
    for incident in found.incidents {
        text.push_str(&format!("\n{}: {}", time(incident.at_us), escape(&incident.what)));
    }
    print(&text)
}

fn row(log: &LogInfo) -> [String; 10] {
    let numbers = [log.messages, log.bytes, log.segments as u64, log.oldest, log.next, log.epoch];
    let [messages, bytes, segments, oldest, next, epoch] = numbers.map(|number| number.to_string());
    let name = log.name.clone();
    [name, messages, bytes, segments, oldest, next, epoch, kept(log), readers(log), topics(log)]
}

fn topics(log: &LogInfo) -> String {
    let input = if log.record_input { "input of " } else { "" };
    format!("{input}{}", list(&log.topics))
}

fn kept(log: &LogInfo) -> String {
    let age = log.max_age_s.map(|most| format!("{most} s"));
    let bytes = log.max_bytes.map(|most| format!("{most} B"));
    let messages = log.max_messages.map(|most| format!("{most} messages"));
    let all: Vec<String> = [age, bytes, messages].into_iter().flatten().collect();
    if all.is_empty() { "for ever".into() } else { all.join(", ") }
}

fn readers(log: &LogInfo) -> String {
    let all = log.consumers.iter().map(|reader| format!("{}@{}", reader.name, reader.next));
    list(&all.collect::<Vec<_>>())
}

async fn stat(args: &Stat) -> anyhow::Result<()> {
    let keeper = Keeper::find(&args.place).await?;
    let found = keeper.stat(&args.name).await?;
    keeper.close()?;
    if args.json {
        return print(&serde_json::to_string(&found)?);
    }
    print(&told(&found))
}

fn told(of: &LogStat) -> String {
    let info = &of.info;
    let when = |us: Option<u64>| us.map_or_else(|| "-".into(), time);
    let per_message = of.bytes_per_message.map_or_else(|| "-".into(), |bytes| bytes.to_string());
    let mut rows = vec![
        ["topics".to_owned(), topics(info)],
        ["kept".into(), kept(info)],
        ["messages".into(), info.messages.to_string()],
        ["bytes".into(), format!("{} in {} segments", info.bytes, info.segments)],
        ["bytes per message".into(), per_message],
        ["oldest".into(), format!("{} {}", info.oldest, when(of.oldest_us))],
        ["newest".into(), format!("{} {}", info.next.saturating_sub(1), when(of.newest_us))],
        ["next offset".into(), info.next.to_string()],
    ];
    for life in &of.epochs {
        let next = life.next.map_or_else(|| "goes on".into(), |next| format!("before {next}"));
        rows.push([format!("epoch {}", life.epoch), format!("from {}, {next}", life.first)]);
    }
    for reader in &info.consumers {
        let place = format!("next {}, {} behind", reader.next, reader.behind);
        rows.push([format!("read by {}", reader.name), place]);
    }
    for incident in &of.incidents {
        rows.push([format!("incident {}", time(incident.at_us)), incident.what.clone()]);
    }
    table(["LOG", &escape(&info.name)], rows)
}

async fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let wanted = Export { since: args.since, until: args.until, topic: args.topic.clone() };
    wanted.check().map_err(anyhow::Error::msg)?;
    let keeper = Keeper::find(&args.place).await?;
    let mut out: Box<dyn Write> = match &args.out {
        Some(path) => Box::new(File::create_new(path).with_context(|| cannot("write", path))?),
        None => Box::new(std::io::stdout().lock()),
    };
    let mut last = LastLine::default();
    let mut write = |bytes: &[u8]| {
        last.push(bytes);
        out.write_all(bytes)
    };
    keeper.export(&args.name, &wanted, &mut write).await?;
    out.flush()?;
    keeper.close()?;
    let end: Exported =
        serde_json::from_slice(&last.0).context("the export broke off: its last line is missing")?;
    for (first, next) in &end.missed {
        say(&format!("offsets {first} to {next} are not kept any more"));
    }
    for (first, next) in &end.damaged {
        say(&format!("offsets {first} to {next} are damaged and could not be read"));
    }
    say(&format!("{} messages exported", end.exported));
    Ok(())
}

/// The last whole line of what passes.
#[derive(Default)]
struct LastLine(Vec<u8>);

impl LastLine {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let before_end = self.0.strip_suffix(b"\n").unwrap_or(&self.0);
        if let Some(at) = before_end.iter().rposition(|byte| *byte == b'\n') {
            self.0.drain(..=at);
        }
    }
}

fn cannot(what: &str, path: &Path) -> String {
    format!("cannot {what} {}", path.display())
}

async fn import(args: &ImportArgs) -> anyhow::Result<()> {
    let from: Box<dyn Read + Send> = match &args.file {
        Some(path) => Box::new(File::open(path).with_context(|| cannot("read", path))?),
        None => Box::new(std::io::stdin()),
    };
    let keeper = Keeper::find(&args.place).await?;
    let imported = keeper.import(&args.name, pieces(from)?).await;
    let closed = keeper.close();
    let imported = imported?;
    closed?;
    let place = |offset: Option<u64>| offset.map_or_else(|| "-".into(), |offset| offset.to_string());
    let (first, last) = (place(imported.first), place(imported.last));
    print(&format!("{} messages imported, offsets {first} to {last}", imported.imported))?;
    match imported.exported {
        _ if args.partial => Ok(()),
        Some(exported) if exported == imported.imported => Ok(()),
        Some(exported) => {
            Err(anyhow!("{exported} were exported: lines are missing (--partial accepts that)"))
        }
        None => Err(anyhow!(
            "the last line of an export, which says how many messages there are, is missing: these lines may \
             have been cut off (--partial accepts that)"
        )),
    }
}

/// Pieces of a file, read ahead a little. On a thread that nobody waits for: standard input may never end.
fn pieces(mut from: Box<dyn Read + Send>) -> anyhow::Result<mpsc::Receiver<std::io::Result<Bytes>>> {
    const PIECE: usize = 64 * 1024;
    let (read, pieces) = mpsc::channel(4);
    std::thread::Builder::new().name("import".into()).spawn(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let next = match from.read(&mut piece) {
                Ok(0) => return,
                Ok(length) => {
                    piece.truncate(length);
                    Ok(Bytes::from(piece))
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let broken = next.is_err();
            if read.blocking_send(next).is_err() || broken {
                return;
            }
        }
    })?;
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::LastLine;

    #[test]
    fn the_last_line_is_found_however_it_comes() {
        let mut last = LastLine::default();
        for piece in ["{\"a\":1}\n{\"b", "\":2}\n", "{\"exported\"", ":2}\n"] {
            last.push(piece.as_bytes());
        }
        assert_eq!(last.0, b"{\"exported\":2}\n");
    }
}
