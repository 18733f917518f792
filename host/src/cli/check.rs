//! `weir check`: whether the configuration and the plugins are sound, without a server.

use std::io::ErrorKind;
use std::process::ExitCode;

use super::settings::Settings;
use super::{print, say};
use crate::admin::{AdminToken, TokenError};
use crate::plugin;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = args.settings.load()?;
    let mut problems = Vec::new();
    match AdminToken::load(&config.data) {
        Ok(_) => {}
        // Made at the first start.
        Err(TokenError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => problems.push(error.to_string()),
    }
    problems.extend(args.settings.check_certificates(&config).err().map(|error| error.to_string()));
    problems.extend(args.settings.check_webhooks(&config).err().map(|error| error.to_string()));
    if let Some(warning) = plugin::folder::exposed(&config.plugins) {
        say(&format!("warning: {}: {warning}", config.plugins.display()));
    }
    if config.plugins.is_dir() {
        problems.extend(plugin::check(&config).iter().map(ToString::to_string));
    } else {
        problems.push(format!("the plugins folder {} does not exist", config.plugins.display()));
    }
    if problems.is_empty() {
        let file =
            args.settings.place.file().map_or("the defaults".into(), |file| file.display().to_string());
        print(&format!("{file} and the plugins in {} are sound", config.plugins.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    problems.iter().for_each(|problem| say(problem));
    Ok(ExitCode::FAILURE)
}
