//! `weir serve`: the router, until a signal ends it.

use std::process::ExitCode;

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
    telemetry::init(&config.logging)?;
    run::block_on(async { run::start(config).await?.finish().await })
}
