//! The device, the sensor and the page at work, and what happens to them in the course of a demo.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::folder::{Folder, Unit};
use super::metrics::Calls;
use super::observer::Observer;
use super::report::Evidence;
use super::{DEVICE, FIRST_UNIT, Keys, PAGE, SENSOR, login};
use crate::client::{Endpoint, Http};
use crate::device::{Command, Device};
use crate::page::{Page, Screen, TOPICS};
use crate::sensor::Sensor;

/// Time between two commands.
const COMMANDS_EVERY: Duration = Duration::from_secs(2);
/// Time between two looks at the counters.
const COUNTERS_EVERY: Duration = Duration::from_secs(1);
/// No swap comes before this.
const FIRST_SWAP: Duration = Duration::from_secs(3);
/// Time between two swaps of a demo without end.
const SWAPS_EVERY: Duration = Duration::from_secs(10);
/// How long a swap may take until it shows at the page. Plugins are compiled before.
const SWAP: Duration = Duration::from_secs(20);
/// How long what is under way may take at the end.
const SETTLE: Duration = Duration::from_secs(15);
/// How long to wait for what must not come any more: second copies.
const LATECOMERS: Duration = Duration::from_millis(300);
/// Time between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(5);

/// What the page asks of the device, in turn.
const COMMANDS: [Command; 4] = [
    Command { interval_ms: None, blink: Some(true) },
    Command { interval_ms: Some(50), blink: None },
    Command { interval_ms: Some(100), blink: None },
    Command { interval_ms: None, blink: Some(false) },
];

/// Everybody is connected.
pub(super) struct Stage<'a> {
    folder: &'a Folder,
    observer: Arc<Observer>,
    screen: Arc<Screen>,
    /// Device and sensor.
    senders: JoinSet<Result<()>>,
    senders_stop: CancellationToken,
    page: JoinSet<Result<()>>,
    page_stop: CancellationToken,
    commands: mpsc::Sender<(String, Command)>,
    given: u64,
    /// Asks the storage plugin, as the page.
    http: Http,
    admin: Http,
    calls: Calls,
    unit: Unit,
    swaps: u64,
    /// How long what is under way may take at the end.
    pub(super) patience: Duration,
}

impl<'a> Stage<'a> {
    /// Connects the page first, so that it misses nothing.
    pub(super) async fn set(
        keys: &Keys,
        http: &Endpoint,
        admin: Endpoint,
        folder: &'a Folder,
        screen: Arc<Screen>,
        observer: Arc<Observer>,
    ) -> Result<Self> {
        let reader = login(http, &keys.page, PAGE, "page");
        let page = Page::connect(&reader, TOPICS, observer.clone()).await?;
        let device = Device::connect(&login(http, &keys.device, DEVICE, "device"), observer.clone()).await?;
        let sensor = Sensor::new(login(http, &keys.sensor, SENSOR, "sensor"), observer.clone());
        let (commands, received) = mpsc::channel(1);
        let (page_stop, senders_stop) = (CancellationToken::new(), CancellationToken::new());
        let (mut pages, mut senders) = (JoinSet::new(), JoinSet::new());
        pages.spawn(page.run(received, Arc::clone(&screen), page_stop.clone()));
        senders.spawn(device.run(senders_stop.clone()));
        senders.spawn(sensor.run(senders_stop.clone()));
        Ok(Self {
            folder,
            observer,
            screen,
            senders,
            senders_stop,
            page: pages,
            page_stop,
            commands,
            given: 0,
            http: Http::new(reader),
            admin: Http::anonymous(admin),
            calls: Calls::default(),
            unit: FIRST_UNIT,
            swaps: 0,
            patience: SETTLE,
        })
    }

    /// The whole course of a demo.
    pub(super) async fn play(
        mut self,
        length: Option<Duration>,
        stop: &CancellationToken,
    ) -> Result<Evidence> {
        self.traffic(length, stop).await?;
        self.screen.say("finishing what is under way");
        self.settle().await?;
        let stored = self.stored().await?;
        self.page_stop.cancel();
        while let Some(ended) = self.page.join_next().await {
            ended??;
        }
        self.look_at_counters().await?;
        Ok(Evidence {
            tally: self.observer.tally(),
            seen: self.observer.seen(),
            swaps: self.swaps,
            commands: self.given,
            kinds: self.calls.kinds(),
            stored,
        })
    }

    /// Lets them talk, with commands and swaps in between.
    async fn traffic(&mut self, length: Option<Duration>, stop: &CancellationToken) -> Result<()> {
        let begin = Instant::now();
        let mut swaps = swaps(length).map(|after| begin + after);
        let mut next_swap = swaps.next();
        let mut commands = every(COMMANDS_EVERY);
        let mut counters = every(COUNTERS_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = at(length.map(|length| begin + length)) => return Ok(()),
                () = at(next_swap) => {
                    self.swap().await?;
                    next_swap = swaps.next();
                }
                _ = commands.tick() => self.command().await?,
                _ = counters.tick() => self.look_at_counters().await?,
                Some(ended) = self.senders.join_next() => return Err(too_early(ended)),
                Some(ended) = self.page.join_next() => return Err(too_early(ended)),
            }
        }
    }

    async fn command(&mut self) -> Result<()> {
        let turn = usize::try_from(self.given).unwrap_or(0) % COMMANDS.len();
        let Some(command) = COMMANDS.get(turn) else { return Ok(()) };
        let text = serde_json::to_string(command)?;
        self.commands.send((DEVICE.to_owned(), *command)).await.context("the page takes no commands")?;
        self.given += 1;
        self.screen.say(format!("{PAGE} tells {DEVICE}: {text}"));
        Ok(())
    }

    /// Swaps the transforms for others while traffic flows, and waits until everybody's readings show it.
    async fn swap(&mut self) -> Result<()> {
        // The counters of the version that goes are gone with it.
        self.look_at_counters().await?;
        let unit = self.unit.other();
        self.screen.say(format!("swapping json-map: {} -> {}", self.unit.name(), unit.name()));
        let begin = Instant::now();
        self.folder.map_to(unit)?;
        let observer = Arc::clone(&self.observer);
        let mut shown = None;
        let all = || {
            let device = observer.unit(DEVICE) == Some(unit);
            if device && shown.is_none() {
                shown = Some(begin.elapsed());
            }
            device && observer.unit(SENSOR) == Some(unit)
        };
        if !self.watch(SWAP, all).await? {
            bail!(
                "json-map was swapped, and after {} s readings are still not in {}",
                SWAP.as_secs(),
                unit.name()
            );
        }
        self.unit = unit;
        self.swaps += 1;
        let shown = shown.unwrap_or_default().as_millis();
        self.screen.say(format!("{DEVICE}'s readings come in {} after {shown} ms", unit.name()));
        Ok(())
    }

    /// The senders stop, and everything that was promised is waited for: first the commands, to which the
    /// device has to answer, then the rest.
    async fn settle(&mut self) -> Result<()> {
        let observer = Arc::clone(&self.observer);
        let given = self.given;
        // What is not confirmed in time is the report's to tell, like anything else that does not settle.
        self.watch(self.patience, || observer.confirmed() >= given).await?;
        self.senders_stop.cancel();
        while let Some(ended) = self.senders.join_next().await {
            ended??;
        }
        self.watch(self.patience, || observer.tally().settled()).await?;
        self.watch(LATECOMERS, || false).await?;
        Ok(())
    }

    /// Waits until something is so, and says whether it is; an error when somebody gave up meanwhile.
    async fn watch(&mut self, limit: Duration, mut so: impl FnMut() -> bool) -> Result<bool> {
        let end = Instant::now() + limit;
        while !so() {
            if Instant::now() >= end {
                return Ok(false);
            }
            let ended = self.senders.try_join_next().or_else(|| self.page.try_join_next());
            if let Some(ended) = ended {
                return Err(too_early(ended));
            }
            sleep(LOOK).await;
        }
        Ok(true)
    }

    /// What the storage plugin has. It works behind the log, so it is given the time to get there.
    async fn stored(&mut self) -> Result<BTreeMap<String, Value>> {
        let end = Instant::now() + self.patience;
        let delivered = self.observer.seen().latest;
        loop {
            let stored = self.query().await?;
            if stored == delivered || Instant::now() >= end {
                return Ok(stored);
            }
            sleep(LOOK * 10).await;
        }
    }

    async fn query(&mut self) -> Result<BTreeMap<String, Value>> {
        let reply = self.http.get("/v1/query/latest?topic=page/%23").await?;
        let answer = reply.answer().context("asking the storage plugin `latest`")?;
        if !answer.ok {
            bail!("the storage plugin `latest` was asked for page/# and said: {answer}");
        }
        let item = |item: Value| {
            let topic = item.get("topic").and_then(Value::as_str).map(str::to_owned);
            let data = item.get("data").cloned();
            topic.zip(data).with_context(|| format!("an item of `latest` is not as documented: {item}"))
        };
        answer.items.into_iter().map(item).collect()
    }

    async fn look_at_counters(&mut self) -> Result<()> {
        let reply = self.admin.get("/metrics").await?;
        if !reply.status.is_success() {
            bail!("the router answered {} to GET /metrics", reply.status);
        }
        self.calls.take(&String::from_utf8_lossy(&reply.body))
    }
}

/// When to swap, from the beginning: at a third and at two thirds of a demo, else every so often.
fn swaps(length: Option<Duration>) -> Box<dyn Iterator<Item = Duration> + Send> {
    match length {
        Some(length) => {
            let first = (length / 3).max(FIRST_SWAP);
            let second = (length * 2 / 3).max(first + Duration::from_secs(1));
            Box::new([first, second].into_iter().filter(move |at| *at < length))
        }
        None => Box::new((0..).map(|count| FIRST_SWAP + SWAPS_EVERY * count)),
    }
}

/// Ticks, of which none is made up for: a swap takes as long as it takes.
fn every(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period / 2, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn too_early(ended: Result<Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow!("one of the clients stopped too early"),
        Ok(Err(error)) => error,
        Err(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swaps_come_at_a_third_and_two_thirds() {
        let at = |seconds| -> Vec<f64> {
            swaps(Some(Duration::from_secs(seconds))).map(|at| at.as_secs_f64()).collect()
        };
        assert_eq!(at(30), [10.0, 20.0]);
        assert_eq!(at(6), [3.0, 4.0]);
        assert_eq!(at(5), [3.0, 4.0]);
        assert_eq!(at(4), [3.0]);
        let endless: Vec<u64> = swaps(None).take(3).map(|at| at.as_secs()).collect();
        assert_eq!(endless, [3, 13, 23]);
    }
}
