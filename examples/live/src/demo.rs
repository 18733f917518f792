//! The demo: a router with the stock plugins, a device, a sensor and a page, and swaps of a plugin while all
//! of them talk. Every message is counted, so that "nothing is lost" is a finding.

mod folder;
mod ledger;
mod metrics;
mod observer;
mod report;
mod router;
mod stage;

pub use folder::{Folder, Unit};
pub use ledger::{Ledger, Tally};
pub use metrics::Kinds;
pub use report::{Evidence, Report};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio_util::sync::CancellationToken;

use crate::client::{Endpoint, Login, Socket};
use crate::page::{Screen, TOPICS};
use crate::proc::Proc;
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

/// The keys of the three.
struct Keys {
    device: String,
    sensor: String,
    page: String,
}

/// Runs it to the end, or until stopped. An error says what went wrong, with the end of the router's log; so
/// does the second part of the answer, when the demo ran and not all was well.
pub async fn run(
    options: &Options,
    screen: &Arc<Screen>,
    stop: &CancellationToken,
) -> Result<(Evidence, Option<anyhow::Error>)> {
    if !options.weir.is_file() {
        bail!("there is no router at {}: `cargo xtask build` makes one", options.weir.display());
    }
    let memory_total = Proc::new().sample()?.memory_total;
    let folder = Folder::make(FIRST_UNIT)?;
    let keys = keys(options, &folder).await?;
    screen.say(format!("starting {} on {}", options.weir.display(), folder.config().display()));
    let mut router = Router::start(&options.weir, &folder).await?;
    let log = router.log().clone();
    screen.say(format!("the router listens on {} (admin {})", router.http.authority(), router.admin.authority()));
    let observer = Arc::new(Observer::new(Arc::clone(screen), memory_total));
    let play = async {
        guarded(&router.http, &keys).await?;
        let (http, admin) = (router.http.clone(), router.admin.clone());
        let stage = Stage::set(&keys, http, admin, &folder, Arc::clone(screen), observer).await?;
        tokio::select! {
            evidence = stage.play(options.length, stop) => evidence,
            error = router.ended() => Err(error),
        }
    };
    let played = play.await;
    let evidence = match played {
        Ok(evidence) => evidence,
        Err(error) => return Err(log.tail_behind(error).await),
    };
    let mut faults = evidence.faults();
    if let Err(error) = router.stop().await {
        faults.push(format!("{error:#}"));
    }
    if faults.is_empty() {
        return Ok((evidence, None));
    }
    let error = anyhow::anyhow!("not all was well:\n  - {}", faults.join("\n  - "));
    Ok((evidence, Some(log.tail_behind(error).await)))
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
