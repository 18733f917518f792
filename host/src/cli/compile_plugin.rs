//! `weir compile-plugin`: what the router starts to compile a plugin. It is not for people, and not in `--help`.

use std::process::ExitCode;

use super::say;
use crate::plugin::compiler::{Task, compile};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    task: Task,
}

/// The router reads standard error for the reason.
pub(super) fn run(args: &Args) -> ExitCode {
    match compile(&args.task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            say(&reason);
            ExitCode::FAILURE
        }
    }
}
