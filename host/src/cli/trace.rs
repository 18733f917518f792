//! `weir trace`: messages on their way, every stage of each, as they come.

use std::io;

use anyhow::Context;

use super::client::encoded;
use super::settings::Place;
use super::subscribe::time_of_day;
use super::{desk, print, say};
use crate::admin::TraceLine;
use crate::pipeline::explain::{Seen, Step};
use crate::pipeline::trace::{Became, MOST_PER_S, PAYLOAD_BYTES, PER_S, Traced};
use crate::telemetry::escape;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Topics as they are published: a topic, or a pattern with + for one level and # for all below
    pattern: String,
    /// Show the first 256 bytes of payloads, or so many
    #[arg(long, value_name = "BYTES", num_args = 0..=1, require_equals = true, default_missing_value = PAYLOAD)]
    payload: Option<usize>,
    /// Of N messages that match, show one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    sample: u64,
    /// Show at most N messages in a second, and say how many were missed
    #[arg(long, value_name = "N", default_value_t = PER_S, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_PER_S)))]
    rate: u32,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print the server's JSON, one object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// As clap wants it.
const PAYLOAD: &str = "256";
const _: () = assert!(PAYLOAD_BYTES == 256);

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let (pattern, sample, rate) = (encoded(&args.pattern), args.sample, args.rate);
    let mut path = format!("/v1/trace?pattern={pattern}&sample={sample}&per_s={rate}");
    if let Some(bytes) = args.payload {
        path.push_str(&format!("&payload=1&payload_bytes={bytes}"));
    }
    let mut screen = Screen { args, rest: Vec::new(), left: args.count, failed: None };
    let done = desk::server(&args.place)?.download(&path, &mut |bytes| screen.take(bytes)).await;
    if let Some(error) = screen.failed {
        return Err(error);
    }
    if screen.left == Some(0) {
        return Ok(());
    }
    done?;
    say("the router is stopping");
    Ok(())
}

/// Where traced messages go.
struct Screen<'a> {
    args: &'a Args,
    /// The beginning of a line.
    rest: Vec<u8>,
    left: Option<u64>,
    failed: Option<anyhow::Error>,
}

impl Screen<'_> {
    /// Shows the lines that have come whole. Err: enough has been seen, or cannot be shown.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            if let Err(error) = self.line(line.trim_ascii_end()) {
                self.failed = Some(error);
            }
            if self.failed.is_some() || self.left == Some(0) {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> anyhow::Result<()> {
        if line.is_empty() {
            return Ok(());
        }
        let read: TraceLine =
            serde_json::from_slice(line).context("the server's words are not understood")?;
        let as_json = || print(&String::from_utf8_lossy(line));
        match read {
            TraceLine::Tracing { pattern, .. } => {
                say(&format!("tracing {}; Ctrl-C ends", escape(&pattern)));
                Ok(())
            }
            TraceLine::Missed { .. } if self.args.json => as_json(),
            TraceLine::Missed { missed } => {
                say(&format!("{missed} more came too fast (--rate, --sample)"));
                Ok(())
            }
            TraceLine::Message(traced) => {
                self.left = self.left.map(|left| left - 1);
                if self.args.json { as_json() } else { print(&block(&traced)) }
            }
        }
    }
}

/// A message as people read it: what came, a line for every step, what became of it, and an empty line.
fn block(of: &Traced) -> String {
    let message = &of.message;
    let (time, topic, from) = (time_of_day(of.time_us), escape(&message.topic), escape(&of.from));
    let mut lines =
        vec![format!("{time}  {topic}  from {from} over {}  {}", escape(&of.gateway), size(message))];
    lines.extend(payload("  ", message));
    for step in &of.steps {
        lines.push(step_line(step));
        // What only went on is shown where it came from.
        lines.extend(
            step.output
                .iter()
                .filter(|seen| seen.payload != step.input.payload)
                .flat_map(|seen| payload("    ", seen)),
        );
    }
    if of.omitted > 0 {
        lines.push(format!("  and {} steps more", of.omitted));
    }
    lines.push(ending(of));
    lines.push(String::new());
    lines.join("\n")
}

/// `  filter dedupe@3f2a… keep 0.8 µs 120→120 B t/a`
fn step_line(step: &Step) -> String {
    let name = escape(&step.plugin);
    let plugin = match &step.version {
        Some(version) => format!("{name}@{}…", escape(version.get(..4).unwrap_or(version))),
        None => name,
    };
    let mut line = format!("  {} {plugin} {}", escape(&step.stage), escape(&step.verdict));
    if let Some(policy) = &step.policy {
        line.push_str(&format!(", policy: {}", escape(policy)));
    }
    if step.tries > 1 {
        line.push_str(&format!(" after {} tries", step.tries));
    }
    if let Some(us) = step.us {
        line.push_str(&format!(" {us:.1} µs"));
    }
    if let Some(before) = step.input.bytes {
        let after: Vec<_> = step.output.iter().filter_map(|seen| seen.bytes).map(|b| b.to_string()).collect();
        let after = if after.is_empty() { "0".to_owned() } else { after.join("+") };
        line.push_str(&format!(" {before}→{after} B"));
    }
    line.push_str(&format!(" {}", escape(&step.input.topic)));
    if step.output.iter().any(|seen| seen.topic != step.input.topic) {
        let topics: Vec<_> = step.output.iter().map(|seen| escape(&seen.topic)).collect();
        line.push_str(&format!(" → {}", topics.join(", ")));
    }
    if step.more > 0 {
        line.push_str(&format!(" and {} more", step.more));
    }
    if !step.reason.is_empty() {
        line.push_str(&format!(" ({})", escape(&step.reason)));
    }
    line
}

/// `  = accepted in 35.0 µs: default:1:7 t/a`
fn ending(of: &Traced) -> String {
    let mut line = format!("  = {} in {:.1} µs", escape(&of.outcome), of.us);
    if !of.reason.is_empty() {
        line.push_str(&format!(" ({})", escape(&of.reason)));
    }
    if !of.messages.is_empty() {
        let all: Vec<_> = of.messages.iter().map(place).collect();
        line.push_str(&format!(": {}", all.join(", ")));
    }
    if of.more > 0 {
        line.push_str(&format!(" and {} more", of.more));
    }
    if of.reruns > 0 {
        line.push_str(&format!(" (after {} runs that met a conflict)", of.reruns));
    }
    line
}

fn place(of: &Became) -> String {
    let topic = escape(&of.topic);
    match &of.place {
        Some((log, epoch, offset)) => format!("{topic} at {log}:{epoch}:{offset}"),
        None => format!("{topic} in no log"),
    }
}

fn size(seen: &Seen) -> String {
    format!("{} B", seen.bytes.unwrap_or_default())
}

fn payload(indent: &str, seen: &Seen) -> Option<String> {
    let bytes = &seen.payload.as_ref()?.0;
    let shown = match std::str::from_utf8(bytes) {
        Ok(text) => escape(text),
        Err(_) => format!("0x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    };
    Some(format!("{indent}{shown}{}", if seen.cut { " …" } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_message_is_a_block_that_nothing_in_it_can_leave() {
        let traced = json!({
            "topic": "t/a\n", "bytes": 5, "payload": {"text": "\u{1b}[31m"}, "cut": true, "from": "ada", "gateway": "http",
            "time_us": 1_795_248_000_123_456_u64, "us": 35.04, "outcome": "accepted",
            "messages": [{"topic": "t/b", "place": ["default", 1, 7]}, {"topic": "$x"}],
            "steps": [
                {"stage": "auth", "plugin": "open", "verdict": "allow", "reason": "remembered", "in": {"topic": "t/a"}},
                {"stage": "filter", "plugin": "dedupe", "version": "3f2a9c", "verdict": "keep", "us": 0.84,
                 "in": {"topic": "t/a", "bytes": 5}, "out": [{"topic": "t/a", "bytes": 5}]},
                {"stage": "transform", "plugin": "map", "version": "77aa", "verdict": "trap", "tries": 2, "policy": "pass", "us": 1.0,
                 "reason": "trapped: x\ny", "in": {"topic": "t/a", "bytes": 5},
                 "out": [{"topic": "t/b", "bytes": 2, "payload": {"base64": "AP8="}}], "more": 3},
            ],
        });
        let traced: Traced = serde_json::from_value(traced).unwrap();
        let wanted = "08:00:00.123Z  t/a\\n  from ada over http  5 B\n  \\u{1b}[31m …\n  \
            auth open allow t/a (remembered)\n  filter dedupe@3f2a… keep 0.8 µs 5→5 B t/a\n  \
            transform map@77aa… trap, policy: pass after 2 tries 1.0 µs 5→2 B t/a → t/b and 3 more (trapped: x\\ny)\n    0x00ff\n  \
            = accepted in 35.0 µs: t/b at default:1:7, $x in no log\n";
        assert_eq!(block(&traced), wanted);
    }
}
