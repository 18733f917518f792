//! `weir serve`: the router, until a signal ends it.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::gateways::Gateways;
use super::run::{self, Running};
use super::settings::Settings;
use crate::config::Config;
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    gateways: Gateways,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut config = args.settings.load()?;
    args.gateways.turn_on(&mut config, &args.settings)?;
    args.settings.check_certificates(&config)?;
    args.settings.check_webhooks(&config)?;
    telemetry::init(&config.logging)?;
    args.gateways.bind(&config)?;
    run::block_on(async {
        // Whoever looks after certificates hears it too. Without any, it asks for nothing, and must not end the router.
        let _reload = signal(SignalKind::hangup())?;
        start(args, config).await?.finish().await
    })
}

/// Several that start together look at the same usual ports, and may come too late to one that was free.
async fn start(args: &Args, mut config: Config) -> anyhow::Result<Running> {
    loop {
        let before = config.clone();
        match run::start(config.clone()).await {
            Err(error) => {
                args.gateways.make_way(&mut config, &args.settings);
                if config == before {
                    return Err(error);
                }
            }
            started => return started,
        }
    }
}
