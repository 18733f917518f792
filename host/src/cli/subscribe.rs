//! `weir sub`: messages as they come, one readable line each.

use std::process::ExitCode;

use anyhow::bail;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::socket::{Frame, Target};
use super::{client_runtime, print, say};
use crate::telemetry::escape;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to: a topic, or a pattern with + for one level and # for all below
    #[arg(required = true, value_name = "PATTERN")]
    patterns: Vec<String>,
    /// Print the router's JSON, one object a line
    #[arg(long)]
    json: bool,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    target: Target,
}

/// Characters of a payload that are shown.
const SHOWN_CHARS: usize = 500;
/// Bytes of a binary payload that are shown.
const SHOWN_BYTES: usize = 24;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    client_runtime()?.block_on(watch(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn watch(args: &Args) -> anyhow::Result<()> {
    let mut socket = args.target.connect().await?;
    for (id, pattern) in args.patterns.iter().enumerate() {
        socket.send(&json!({"action": "subscribe", "id": id, "topic": pattern})).await?;
    }
    let mut waiting = args.patterns.len();
    let mut left = args.count;
    let mut columns = Columns::default();
    loop {
        let text = socket.receive().await?;
        let frame = Frame::parse(&text)?;
        match frame.event.as_deref() {
            Some("message") => {
                print(&if args.json { text.to_string() } else { columns.line(&frame) })?;
                left = left.map(|left| left - 1);
                if left == Some(0) {
                    socket.close().await;
                    return Ok(());
                }
            }
            Some("error") => bail!("{}", frame.refusal()),
            Some("unsubscribed") => say(&format!("no longer subscribed to {}", what(&frame))),
            Some(event) => say(&escape(event)),
            None if frame.ok == Some(false) => {
                let pattern = frame.id.and_then(|id| args.patterns.get(usize::try_from(id).ok()?));
                bail!("cannot subscribe to {:?}: {}", pattern.map_or("", String::as_str), frame.refusal());
            }
            None => {
                waiting = waiting.saturating_sub(1);
                if waiting == 0 {
                    say(&format!("watching {} on {}; Ctrl-C ends", args.patterns.join(" "), socket.host));
                    waiting = usize::MAX;
                }
            }
        }
    }
}

fn what(frame: &Frame<'_>) -> String {
    let (topic, reason) =
        (frame.topic.as_deref().unwrap_or_default(), frame.reason.as_deref().unwrap_or_default());
    format!("{}: {}", escape(topic), escape(reason))
}

/// Widths so far: lines stay aligned without knowing what comes.
#[derive(Default)]
struct Columns {
    topic: usize,
    from: usize,
}

impl Columns {
    fn line(&mut self, frame: &Frame<'_>) -> String {
        let time = frame.time_us.map_or_else(|| "--:--:--.---Z".into(), time_of_day);
        let topic = escape(frame.topic.as_deref().unwrap_or_default());
        let from = escape(frame.from.as_deref().unwrap_or_default());
        self.topic = self.topic.max(topic.chars().count().min(40));
        self.from = self.from.max(from.chars().count().min(20));
        format!("{time}  {topic:<0$}  {from:<1$}  {2}", self.topic, self.from, payload(frame))
    }
}

/// `08:00:00.123Z`
pub(super) fn time_of_day(us: u64) -> String {
    let text = weir_contract::time::rfc3339(us);
    let of_day = text.split_once('T').map_or("", |(_, time)| time);
    format!("{}Z", of_day.get(..12).unwrap_or(of_day))
}

/// A payload as people read it, cut if it is long.
pub(super) fn payload(frame: &Frame<'_>) -> String {
    if let Some(data) = frame.data {
        return cut(&escape(&compact(data.get())), data.get().len());
    }
    if let Some(base64) = &frame.base64 {
        return match BASE64_STANDARD.decode(base64) {
            Ok(bytes) => binary(&bytes),
            Err(_) => cut(&escape(base64), base64.len()),
        };
    }
    let text = frame.text.as_deref().unwrap_or_default();
    cut(&escape(text), text.len())
}

fn binary(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect();
    let more = if bytes.len() > SHOWN_BYTES { " …" } else { "" };
    format!("<{} bytes: {}{more}>", bytes.len(), shown.join(" "))
}

fn cut(text: &str, bytes: usize) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}… ({bytes} bytes)", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// JSON without the white space between its tokens; numbers and strings stay as they are written.
fn compact(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else {
            in_string = c == '"';
        }
        if in_string || !c.is_ascii_whitespace() {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_well_and_cannot_steer_the_terminal() {
        let mut columns = Columns::default();
        let mut line = |text: &str| columns.line(&Frame::parse(text).unwrap());
        let time = r#""event":"message","time_us":1795248000123456"#;
        assert_eq!(
            line(&format!(
                r#"{{{time},"topic":"rooms/kitchen","from":"s-3","data":{{ "a b":  "c \" d",
                "n": 1.50 }}}}"#
            )),
            r#"08:00:00.123Z  rooms/kitchen  s-3  {"a b":"c \" d","n":1.50}"#
        );
        assert_eq!(
            line(&format!(r#"{{{time},"topic":"a","from":"b","text":"one\ntwo\u001b[31m"}}"#)),
            r"08:00:00.123Z  a              b    one\ntwo\u{1b}[31m"
        );
        assert!(
            line(&format!(r#"{{{time},"topic":"a","from":"b","base64":"AP8="}}"#))
                .ends_with("  <2 bytes: 00 ff>")
        );
        let long = line(&format!(r#"{{{time},"topic":"a","from":"b","text":"{}"}}"#, "ä".repeat(600)));
        assert!(long.ends_with("ä… (1200 bytes)"), "{long}");
        assert!(line(&format!(r#"{{{time},"topic":"a","from":"b","data":null}}"#)).ends_with("  null"));
    }
}
