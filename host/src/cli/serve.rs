//! `weir serve`: the router, until a signal ends it.

use std::process::ExitCode;

use super::run;
use super::settings::Settings;
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = args.settings.load()?;
    telemetry::init(&config.logging)?;
    run::block_on(async { run::start(config).await?.finish().await })
}
