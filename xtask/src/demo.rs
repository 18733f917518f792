//! The release build, and the live demo that runs on it.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{self, cargo, host_target, root};
use crate::{packages, plugins};

/// The host's package, and that of the demo.
const HOST: &str = "weir";
const DEMO: &str = "weir-live";

/// `cargo xtask build`: the plugins first, because the host embeds them.
pub(crate) fn build() -> Result<()> {
    plugins::plugins()?;
    command::run("building the host and the demo in release", &mut release())
}

/// Builds the host and the demo in release. Whoever wants a program more in the same build adds its package, and these two
/// stay: with other packages, cargo would take other features of what they depend on, and build nearly all again.
pub(crate) fn release() -> Command {
    let mut build = cargo(&root());
    build.args(["build", "--release", "--package", HOST, "--package", DEMO]);
    build.arg("--target-dir").arg(host_target()).stdout(std::io::stderr());
    build
}

/// `cargo xtask demo`: becomes the demo, so that Ctrl-C, stdin, stdout and the exit status are the demo's own.
pub(crate) fn demo(seconds: Option<u64>) -> Result<()> {
    build()?;
    let release = host_target().join("release");
    let program = release.join(program()?);
    let mut demo = Command::new(&program);
    demo.arg("--weir").arg(release.join(HOST));
    if let Some(seconds) = seconds {
        demo.arg("--seconds").arg(seconds.to_string());
    }
    command::step(&format!("starting {}", program.display()));
    // Only returns when the program could not be started.
    Err(demo.exec()).with_context(|| format!("starting {}", program.display()))
}

/// The demo's program: the one of its package that is called so.
fn program() -> Result<PathBuf> {
    let members = packages::members(cargo(&root()).arg("metadata"))?;
    let programs = members.into_iter().find(|package| package.name == DEMO).map(|package| package.programs);
    let programs = programs.unwrap_or_default();
    match programs.iter().find(|name| name.ends_with("demo")) {
        Some(name) => Ok(PathBuf::from(name)),
        None => {
            bail!("the package {DEMO} has no program whose name ends in `demo`, only: {}", programs.join(" "))
        }
    }
}
