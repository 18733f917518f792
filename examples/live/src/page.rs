//! A page: subscribes to what the router made of the readings, shows it as a live table, and commands devices.

mod histogram;
mod screen;
mod table;

pub use histogram::Histogram;
pub use screen::{Look, Screen};

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::client::{Delivery, Frame, Login, Publish, Socket};
use crate::clock;
use crate::device::Command;
use crate::witness::{Sent, Witness};
use table::Table;

/// What the demo's page subscribes to.
pub const TOPICS: &str = "page/#";
/// Commands that may wait for their answers; at more, further ones wait.
const UNANSWERED: usize = 16;
/// How long a page that was stopped waits for the answers that are due.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// What devices and sensors say, as it stands in the payload. All but the number may be missing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Body {
    /// The sender's number of the message.
    pub seq: u64,
    /// When it was sent, by the sender's clock, and which clock that is.
    pub sent_us: u64,
    /// See [`clock::boot`].
    pub boot: String,
    /// Unit of all amounts; the router's transform sets it. Bytes, if nobody did.
    pub unit: Option<String>,
    /// Who sent it, as the router's transform wrote it.
    pub by: Option<String>,
    /// Load of the machine.
    pub load: Option<f64>,
    /// Busy processors.
    pub cpu_percent: Option<f64>,
    /// Memory in use, in `unit`.
    pub memory_used: Option<f64>,
    /// Memory in all, in `unit`.
    pub memory_total: Option<f64>,
    /// Network traffic, in `unit`.
    pub received: Option<f64>,
    /// Network traffic, in `unit`.
    pub sent: Option<f64>,
    /// A device's setting.
    pub interval_ms: Option<u64>,
    /// A device's setting.
    pub blink: Option<bool>,
    /// Whether a device's lamp is on.
    pub lamp: Option<bool>,
    /// The command that a device confirms with this message.
    pub command: Option<u64>,
    /// Why the device did not obey it.
    pub refused: Option<String>,
}

/// A message, as the page understood it.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its sender, as the router knows it.
    pub sender: &'a str,
    /// From sending to here, if both clocks are one.
    pub latency_us: Option<u64>,
    /// The payload.
    pub body: &'a Body,
    /// The payload as it came.
    pub data: &'a Value,
}

/// A page that has connected.
pub struct Page {
    name: String,
    boot: String,
    socket: Socket,
    witness: Arc<dyn Witness>,
    table: Table,
    /// Number of the latest command.
    seq: u64,
    unanswered: usize,
}

/// A command for a device, as it goes out.
#[derive(Serialize)]
struct Numbered {
    seq: u64,
    sent_us: u64,
    #[serde(flatten)]
    command: Command,
}

impl Page {
    /// Connects and subscribes.
    pub async fn connect(login: &Login, topics: &str, witness: Arc<dyn Witness>) -> Result<Self> {
        let mut socket = Socket::connect(login).await?;
        socket.subscribe(topics).await?;
        let (name, boot) = (login.name.clone(), clock::boot());
        Ok(Self { name, boot, socket, witness, table: Table::default(), seq: 0, unanswered: 0 })
    }

    /// Shows what comes in, and sends the commands that come by `commands`, until stopped.
    pub async fn run(
        mut self,
        mut commands: mpsc::Receiver<(String, Command)>,
        screen: Arc<Screen>,
        stop: CancellationToken,
    ) -> Result<()> {
        let period = screen.look().redraw();
        let mut redraw = interval_at(Instant::now() + period, period);
        let mut commanded = true;
        loop {
            let room = commanded && self.unanswered < UNANSWERED;
            tokio::select! {
                () = stop.cancelled() => break,
                frame = self.socket.next() => self.take(frame?)?,
                command = commands.recv(), if room => match command {
                    Some((device, command)) => self.command(&device, command).await?,
                    None => commanded = false,
                },
                _ = redraw.tick() => screen.table(self.table.lines(&self.witness.status(), screen.look())),
            }
        }
        let end = Instant::now() + LAST_ANSWERS;
        while self.unanswered > 0 {
            let Ok(frame) = timeout_at(end, self.socket.next()).await else {
                bail!("{} commands of {} were never answered", self.unanswered, self.name);
            };
            self.take(frame?)?;
        }
        screen.table(self.table.lines(&self.witness.status(), screen.look()));
        self.socket.close().await;
        Ok(())
    }

    async fn command(&mut self, device: &str, command: Command) -> Result<()> {
        self.seq += 1;
        self.unanswered += 1;
        let numbered = Numbered { seq: self.seq, sent_us: clock::now_us(), command };
        self.witness.sent(&self.name, self.seq..=self.seq, Sent::Sound);
        self.witness.commanded(self.seq, command);
        let topic = format!("devices/{device}/commands");
        self.socket.publish(&Publish { id: self.seq, topic: &topic, data: &numbered }).await
    }

    fn take(&mut self, frame: Frame) -> Result<()> {
        match frame {
            Frame::Answer(id, answer) => {
                self.unanswered = self.unanswered.saturating_sub(1);
                self.witness.answered(&self.name, id..=id, Sent::Sound, &answer);
                if !answer.ok {
                    self.witness.note(&format!("{}'s command {id} was turned away: {answer}", self.name));
                }
                Ok(())
            }
            Frame::Message(delivery) => {
                self.show(&delivery);
                Ok(())
            }
            Frame::Event(name, whole) => bail!("the router told {} of {name}: {whole}", self.name),
        }
    }

    fn show(&mut self, delivery: &Delivery) {
        let data = delivery.data.as_ref().unwrap_or(&Value::Null);
        // An array could pass for a body, field by field.
        let Some(body) = data.as_object().and_then(|fields| Body::deserialize(fields).ok()) else {
            return self.witness.foreign(&delivery.topic, &delivery.from);
        };
        let latency_us = clock::latency_us(body.sent_us, &body.boot, &self.boot, delivery.received_us);
        let arrival =
            Arrival { topic: &delivery.topic, sender: &delivery.from, latency_us, body: &body, data };
        self.witness.delivered(arrival.sender, body.seq);
        self.witness.arrived(&arrival);
        self.table.take(&arrival);
    }
}
