//! The demo: a router with the stock plugins, a device, a sensor and a page, and swaps of a plugin while all
//! of them talk. Every message is counted, so that "nothing is lost" is a finding.

mod folder;
mod ledger;
mod metrics;
mod observer;
mod report;
mod router;
mod stage;

pub use metrics::Kinds;
pub use report::Report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use tokio_util::sync::CancellationToken;

use crate::client::{Endpoint, Login, Socket};
use crate::page::{Screen, TOPICS};
use crate::proc::Proc;
use folder::{Folder, Unit};
use observer::Observer;
use router::{Router, Scopes};
use stage::Stage;

/// The three, by name.
const DEVICE: &str = "device-1";
const SENSOR: &str = "sensor-1";
const PAGE: &str = "page-1";

/// The unit at the start.
const FIRST_UNIT: Unit = Unit::Mebi;

/// What to run, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// The router's program.
    pub weir: PathBuf,
    /// How long; none = until stopped.
    pub length: Option<Duration>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The sums.
    pub report: Report,
    /// The same for people, and more.
    pub summary: Vec<String>,
    /// Why it is no success, if it is none.
    pub fault: Option<Error>,
}

/// The keys of the three.
struct Keys {
    device: String,
    sensor: String,
    page: String,
}

/// Runs it to the end, or until stopped. What is wrong is said with the end of the router's log: as an error,
/// when there is nothing else to tell.
pub async fn run(options: &Options, screen: &Arc<Screen>, stop: &CancellationToken) -> Result<Outcome> {
    if !options.weir.is_file() {
        bail!("there is no router at {}: `cargo xtask build` makes one", options.weir.display());
    }
    let memory_total = Proc::new().sample()?.memory_total;
    let folder = Folder::make(FIRST_UNIT)?;
    let keys = keys(options, &folder).await?;
    screen.say(format!("starting {} on {}", options.weir.display(), folder.config().display()));
    let mut router = Router::start(&options.weir, &folder).await?;
    let (http, admin) = (router.http.clone(), router.admin.clone());
    screen.say(format!("the router listens on {} (admin {})", http.authority(), admin.authority()));
    let observer = Arc::new(Observer::new(Arc::clone(screen), memory_total));
    let play = async {
        guarded(&http, &keys).await?;
        let stage = Stage::set(&keys, &http, admin, &folder, Arc::clone(screen), observer).await?;
        stage.play(options.length, stop).await
    };
    let played = tokio::select! {
        played = play => played,
        error = router.ended() => Err(error),
    };
    let log = router.log().clone();
    let evidence = match played {
        Ok(evidence) => evidence,
        Err(error) => return Err(log.tail_behind(router.perhaps_ended(error).await).await),
    };
    let stopped = router.stop().await;
    let mut faults = evidence.faults();
    faults.extend(stopped.err().map(|error| format!("{error:#}")));
    let fault = match faults.as_slice() {
        [] => None,
        some => Some(log.tail_behind(anyhow!("not all was well:\n  - {}", some.join("\n  - "))).await),
    };
    Ok(Outcome { report: evidence.report(), summary: evidence.summary(), fault })
}

/// Each may do what it has to, and nothing else.
async fn keys(options: &Options, folder: &Folder) -> Result<Keys> {
    let make = async |name, origin, publish: &[&str], subscribe: &[&str]| {
        let scopes = Scopes { name, origin, publish, subscribe };
        router::make_key(&options.weir, folder, &scopes).await
    };
    let telling = ["devices/{principal}/readings", "devices/{principal}/state"];
    Ok(Keys {
        device: make(DEVICE, "device", &telling, &["devices/{principal}/commands"]).await?,
        sensor: make(SENSOR, "sensor", &["sensors/{principal}/batches"], &[]).await?,
        page: make(PAGE, "page", &["devices/+/commands"], &[TOPICS]).await?,
    })
}

fn login(endpoint: &Endpoint, key: &str, name: &str, origin: &'static str) -> Login {
    Login { endpoint: endpoint.clone(), key: key.to_owned(), name: name.to_owned(), origin }
}

/// The door is shut: without a right key nobody comes in, and with the sensor's nobody reads.
async fn guarded(endpoint: &Endpoint, keys: &Keys) -> Result<()> {
    let stranger = login(endpoint, "weir_none_none", "stranger", "page");
    match Socket::connect(&stranger).await {
        Ok(_) => bail!("the router let somebody in with a made-up key"),
        Err(error) if format!("{error:#}").contains("refused with 401") => {}
        Err(error) => return Err(error).context("trying a made-up key, which should be refused with 401"),
    }
    let mut curious = Socket::connect(&login(endpoint, &keys.sensor, SENSOR, "sensor")).await?;
    match curious.subscribe(TOPICS).await {
        Ok(()) => bail!("the router let the sensor's key subscribe to {TOPICS}"),
        Err(error) if format!("{error:#}").contains("denied") => {}
        Err(error) => return Err(error).context("subscribing with the sensor's key, which should be denied"),
    }
    curious.close().await;
    Ok(())
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
