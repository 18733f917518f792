//! `weir pub`: one message.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::socket::{Frame, Placed, Socket, Target};
use super::{client_runtime, print, say};
use crate::message::Level;
use crate::telemetry::escape;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to
    topic: String,
    /// JSON, any other text, or `-` for standard input [default: standard input]
    data: Option<String>,
    /// Send the data as text, even if it is JSON
    #[arg(long)]
    text: bool,
    /// What to wait for: routed, logged (on disk) or stored (by all storage plugins)
    #[arg(long, value_name = "LEVEL", value_parser = level, default_value = "routed")]
    level: Level,
    /// Make it its topic's retained message; empty data take that away
    #[arg(long)]
    retain: bool,
    /// Your own id of the message
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// Print the router's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// More than any router takes: what is read is bounded.
const MAX_INPUT_BYTES: u64 = 16 << 20;
/// Longer than a router may think about a message.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

fn level(text: &str) -> Result<Level, String> {
    Level::parse(text).ok_or("expected routed, logged or stored".into())
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(payload) = payload(args.data.as_deref())? else {
        say("weir: DATA is missing: give it, or `-` to type it");
        return Ok(ExitCode::from(2));
    };
    let frame = frame(args, &payload);
    client_runtime()?.block_on(async {
        let mut socket = args.target.connect().await?;
        socket.send_text(frame).await?;
        let answer = tokio::time::timeout(ANSWER_DEADLINE, answer(&mut socket)).await;
        let text =
            answer.map_err(|_| anyhow!("{} did not answer within {ANSWER_DEADLINE:?}", socket.host))??;
        socket.close().await;
        report(&text, args.json)
    })
}

/// None: nobody said what to publish, and standard input is a keyboard.
pub(super) fn payload(data: Option<&str>) -> anyhow::Result<Option<Vec<u8>>> {
    match data {
        Some(data) if data != "-" => return Ok(Some(data.as_bytes().to_vec())),
        None if std::io::stdin().is_terminal() => return Ok(None),
        _ => {}
    }
    let mut input = Vec::new();
    std::io::stdin().take(MAX_INPUT_BYTES + 1).read_to_end(&mut input)?;
    if input.len() as u64 > MAX_INPUT_BYTES {
        bail!("standard input has more than {MAX_INPUT_BYTES} bytes: no router takes such a message");
    }
    Ok(Some(input))
}

fn frame(args: &Args, payload: &[u8]) -> String {
    let mut head = json!({"action": "publish", "id": 1, "topic": args.topic, "level": args.level.as_str()});
    if let (Some(id), Some(head)) = (&args.message_id, head.as_object_mut()) {
        head.insert("message_id".into(), Value::from(id.as_str()));
    }
    if let (true, Some(head)) = (args.retain, head.as_object_mut()) {
        head.insert("retain".into(), Value::Bool(true));
    }
    with_payload(&head, payload, args.text)
}

/// `head` with the payload. JSON goes as it is written, number by number; other text as text; anything else in
/// base64.
pub(super) fn with_payload(head: &Value, payload: &[u8], as_text: bool) -> String {
    let text = std::str::from_utf8(payload).ok();
    let (key, value) = match text.filter(|_| !as_text).map(serde_json::from_str::<&RawValue>) {
        Some(Ok(raw)) => ("data", raw.get().to_owned()),
        _ => match text {
            Some(text) => ("text", Value::from(text).to_string()),
            None => ("base64", Value::from(BASE64_STANDARD.encode(payload)).to_string()),
        },
    };
    let head = head.to_string();
    format!("{},\"{key}\":{value}}}", head.strip_suffix('}').unwrap_or(&head))
}

/// The frame that answers ours: others may come before it.
pub(super) async fn answer(socket: &mut Socket) -> anyhow::Result<String> {
    loop {
        let text = socket.receive().await?;
        let frame = Frame::parse(&text)?;
        if frame.id == Some(1) {
            return Ok(text.to_string());
        }
        if frame.event.as_deref() == Some("error") {
            bail!("{}", frame.refusal());
        }
    }
}

fn report(text: &str, json: bool) -> anyhow::Result<ExitCode> {
    let frame = Frame::parse(text)?;
    let ok = frame.ok == Some(true);
    if json {
        print(text)?;
        return Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if !ok {
        bail!("{}", frame.refusal());
    }
    if frame.outcome.as_deref() != Some("accepted") {
        print(&frame.refusal())?;
        return Ok(ExitCode::SUCCESS);
    }
    let level = frame.level.as_deref().unwrap_or("routed");
    let note = frame.note.map_or(String::new(), |note| format!(" ({})", escape(&note)));
    for message in &frame.messages {
        print(&format!("{level}: {}{note}", place(message)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn place(message: &Placed) -> String {
    let topic = escape(&message.topic);
    match (&message.log, message.epoch, message.offset) {
        (Some(log), Some(epoch), Some(offset)) => format!("{topic} at {log} {epoch}:{offset}"),
        _ => topic,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn sent(line: &[&str], payload: &[u8]) -> String {
        let args = Line::try_parse_from([&["pub", "a/b"], line].concat()).unwrap().args;
        frame(&args, payload)
    }

    #[test]
    fn json_goes_as_it_is_written_and_everything_else_as_what_it_is() {
        let head = r#"{"action":"publish","id":1,"level":"routed","#;
        for (payload, value) in [
            (&b" { \"n\": 1.50 }\n"[..], r#""data":{ "n": 1.50 }}"#),
            (b"null", r#""data":null}"#),
            (b"{ n }", r#""text":"{ n }"}"#),
            (b"say \"hi\"\n", r#""text":"say \"hi\"\n"}"#),
            (b"", r#""text":""}"#),
            (b"\xff\0", r#""base64":"/wA="}"#),
        ] {
            assert_eq!(sent(&[], payload), format!("{head}\"topic\":\"a/b\",{value}"));
        }
        assert!(sent(&["--text"], b"5").ends_with(r#""text":"5"}"#));
        let full = sent(&["--level", "stored", "--message-id", "m\"1"], b"5");
        assert!(full.contains(r#""message_id":"m\"1""#) && full.contains(r#""level":"stored""#), "{full}");
    }
}
