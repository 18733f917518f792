//! `weir serve`: the router, until a signal ends it.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::gateways::Gateways;
use super::run;
use super::settings::Settings;
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
        run::start(config).await?.finish().await
    })
}
