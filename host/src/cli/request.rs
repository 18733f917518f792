//! `weir request`: one message, and the reply to it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use serde_json::json;

use super::publish::{ANSWER_DEADLINE, answer, payload, with_payload};
use super::socket::{Frame, Target};
use super::{client_runtime, print, say, subscribe};
use crate::config::parse_duration;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to
    topic: String,
    /// JSON, any other text, or `-` for standard input [default: standard input]
    data: Option<String>,
    /// Send the data as text, even if it is JSON
    #[arg(long)]
    text: bool,
    /// How long to wait for the reply, 1ms to 60s
    #[arg(long, value_name = "DURATION", value_parser = timeout, default_value = "5s")]
    timeout: Duration,
    /// Print the router's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

fn timeout(text: &str) -> Result<Duration, String> {
    let accepted = Duration::from_millis(1)..=Duration::from_secs(60);
    parse_duration(text)
        .filter(|timeout| accepted.contains(timeout))
        .ok_or("expected 1ms to 60s, such as 500ms or 5s".into())
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(payload) = payload(args.data.as_deref())? else {
        say("weir: DATA is missing: give it, or `-` to type it");
        return Ok(ExitCode::from(2));
    };
    let timeout_ms = u64::try_from(args.timeout.as_millis())?;
    let head = json!({"action": "request", "id": 1, "topic": args.topic, "timeout_ms": timeout_ms});
    let frame = with_payload(&head, &payload, args.text);
    client_runtime()?.block_on(async {
        let mut socket = args.target.connect().await?;
        socket.send_text(frame).await?;
        let patience = args.timeout + ANSWER_DEADLINE;
        let answer = tokio::time::timeout(patience, answer(&mut socket)).await;
        let text = answer.map_err(|_| anyhow!("{} did not answer within {patience:?}", socket.host))??;
        socket.close().await;
        report(&text, args.json)
    })
}

fn report(text: &str, json: bool) -> anyhow::Result<ExitCode> {
    let frame = Frame::parse(text)?;
    if json {
        print(text)?;
        return Ok(if frame.reply.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    // A request that a plugin filtered is no failure of the router's, but there is no reply either.
    let Some(reply) = frame.reply else { bail!("{}", frame.refusal()) };
    print(&subscribe::payload(&Frame::parse(reply.get())?))?;
    Ok(ExitCode::SUCCESS)
}
