//! A device: streams readings over one WebSocket, obeys commands and confirms them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use crate::client::{Delivery, Frame, Login, Publish, Socket};
use crate::clock;
use crate::proc::{Proc, Sample};
use crate::witness::{Sent, Witness};

/// How often a device reports, unless told otherwise.
pub const INTERVAL: Duration = Duration::from_millis(100);
/// What it may be told, in milliseconds.
const ACCEPTED_MS: std::ops::RangeInclusive<u64> = 10..=60_000;
/// Publishes that may wait for their answers; at more, the device pauses its readings.
const UNANSWERED: usize = 64;
/// How long a device that was stopped waits for the answers that are due.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// What a page may ask of a device; what is left out stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Time between two readings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// Whether the lamp blinks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blink: Option<bool>,
}

/// A device that has connected.
pub struct Device {
    name: String,
    boot: String,
    socket: Socket,
    proc: Proc,
    witness: Arc<dyn Witness>,
    settings: Settings,
    lamp: bool,
    /// Number of the latest message.
    seq: u64,
    /// Numbers that have no answer yet.
    unanswered: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Settings {
    interval_ms: u64,
    blink: bool,
}

/// What a device publishes every time.
#[derive(Serialize)]
struct Reading<'a> {
    seq: u64,
    sent_us: u64,
    boot: &'a str,
    #[serde(flatten)]
    sample: Sample,
    #[serde(flatten)]
    settings: Settings,
    lamp: bool,
}

/// What it publishes after a command.
#[derive(Serialize)]
struct State<'a> {
    seq: u64,
    sent_us: u64,
    boot: &'a str,
    /// The command's number.
    command: u64,
    /// Why it was not obeyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    #[serde(flatten)]
    settings: Settings,
}

/// A command as it comes in.
#[derive(Deserialize)]
struct Numbered {
    seq: u64,
    #[serde(flatten)]
    command: Command,
}

impl Device {
    /// Connects, and listens to its commands from then on.
    pub async fn connect(login: &Login, witness: Arc<dyn Witness>) -> Result<Self> {
        let mut socket = Socket::connect(login).await?;
        socket.subscribe(&format!("devices/{}/commands", login.name)).await?;
        Ok(Self {
            name: login.name.clone(),
            boot: clock::boot(),
            socket,
            proc: Proc::new(),
            witness,
            settings: Settings { interval_ms: whole_ms(INTERVAL), blink: false },
            lamp: false,
            seq: 0,
            unanswered: Vec::new(),
        })
    }

    /// Reports and obeys until stopped; then waits for the answers that are due.
    pub async fn run(mut self, stop: CancellationToken) -> Result<()> {
        let mut clock = self.ticks(Duration::ZERO);
        loop {
            let room = self.unanswered.len() < UNANSWERED;
            tokio::select! {
                () = stop.cancelled() => break,
                _ = clock.tick(), if room => self.report().await?,
                frame = self.socket.next() => {
                    if self.take(frame?).await? {
                        clock = self.ticks(Duration::from_millis(self.settings.interval_ms));
                    }
                }
            }
        }
        let answers = async {
            while !self.unanswered.is_empty() {
                let frame = self.socket.next().await?;
                self.take(frame).await?;
            }
            Ok(())
        };
        let answered: Result<()> = timeout(LAST_ANSWERS, answers).await.unwrap_or(Ok(()));
        answered?;
        if !self.unanswered.is_empty() {
            bail!("{} publishes of {} were never answered", self.unanswered.len(), self.name);
        }
        self.socket.close().await;
        Ok(())
    }

    fn ticks(&self, first: Duration) -> Interval {
        let period = Duration::from_millis(self.settings.interval_ms);
        let mut ticks = interval_at(Instant::now() + first, period);
        // A late reading is followed by the next one at its usual distance, never by a burst.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    async fn report(&mut self) -> Result<()> {
        let sample = self.proc.sample()?;
        self.lamp = self.settings.blink && !self.lamp;
        let seq = self.next_message();
        let reading = Reading {
            seq,
            sent_us: clock::now_us(),
            boot: &self.boot,
            sample,
            settings: self.settings,
            lamp: self.lamp,
        };
        let topic = format!("devices/{}/readings", self.name);
        self.socket.publish(&Publish { id: seq, topic: &topic, data: &reading }).await
    }

    /// Whether the interval changed.
    async fn take(&mut self, frame: Frame) -> Result<bool> {
        match frame {
            Frame::Answer(id, answer) => {
                self.unanswered.retain(|waiting| *waiting != id);
                self.witness.answered(&self.name, id..=id, Sent::Sound, &answer);
                if !answer.ok {
                    self.witness.note(&format!("{}'s message {id} was turned away: {answer}", self.name));
                }
                Ok(false)
            }
            Frame::Message(delivery) => self.obey(delivery).await,
            Frame::Event(name, whole) => bail!("the router told {} of {name}: {whole}", self.name),
        }
    }

    async fn obey(&mut self, delivery: Delivery) -> Result<bool> {
        let Ok(numbered) = serde_json::from_value::<Numbered>(delivery.data.unwrap_or_default()) else {
            self.witness.note(&format!("{} cannot read a command of {}", self.name, delivery.from));
            return Ok(false);
        };
        let Numbered { seq: number, command } = numbered;
        self.witness.delivered(&delivery.from, number);
        let before = self.settings;
        let refused = match self.settings.changed(command) {
            Ok(settings) => {
                self.settings = settings;
                None
            }
            Err(reason) => Some(reason),
        };
        let seq = self.next_message();
        let state = State {
            seq,
            sent_us: clock::now_us(),
            boot: &self.boot,
            command: number,
            refused,
            settings: self.settings,
        };
        let topic = format!("devices/{}/state", self.name);
        self.socket.publish(&Publish { id: seq, topic: &topic, data: &state }).await?;
        Ok(before.interval_ms != self.settings.interval_ms)
    }

    fn next_message(&mut self) -> u64 {
        self.seq += 1;
        self.unanswered.push(self.seq);
        self.witness.sent(&self.name, self.seq..=self.seq, Sent::Sound);
        self.seq
    }
}

impl Settings {
    fn changed(self, command: Command) -> Result<Self, String> {
        let interval_ms = command.interval_ms.unwrap_or(self.interval_ms);
        if !ACCEPTED_MS.contains(&interval_ms) {
            let (least, most) = (ACCEPTED_MS.start(), ACCEPTED_MS.end());
            return Err(format!("interval_ms is {least} to {most}, not {interval_ms}"));
        }
        Ok(Self { interval_ms, blink: command.blink.unwrap_or(self.blink) })
    }
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Settings = Settings { interval_ms: 100, blink: false };

    #[test]
    fn a_command_changes_only_what_it_names() {
        let quick = BEFORE.changed(Command { interval_ms: Some(50), blink: None }).unwrap();
        assert_eq!(quick, Settings { interval_ms: 50, blink: false });
        let blinking = quick.changed(Command { interval_ms: None, blink: Some(true) }).unwrap();
        assert_eq!(blinking, Settings { interval_ms: 50, blink: true });
    }

    #[test]
    fn no_command_stops_or_floods() {
        for interval_ms in [0, 9, 60_001, u64::MAX] {
            let command = Command { interval_ms: Some(interval_ms), blink: Some(true) };
            assert!(BEFORE.changed(command).unwrap_err().contains("10 to 60000"));
        }
    }

    #[test]
    fn a_reading_is_one_flat_object() {
        let sample = Sample { load: 0.5, ..Sample::default() };
        let reading = Reading { seq: 1, sent_us: 2, boot: "b", sample, settings: BEFORE, lamp: false };
        let value = serde_json::to_value(&reading).unwrap();
        assert_eq!(
            (&value["load"], &value["interval_ms"], &value["seq"]),
            (&0.5.into(), &100.into(), &1.into())
        );
    }
}
