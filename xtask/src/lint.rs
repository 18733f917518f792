//! Formatting and clippy. A warning is an error here, so that it is one nowhere else.

use anyhow::Result;

use crate::command::{self, cargo, host_target, root};

/// Workspaces of their own inside the checkout: only their formatting is checked, since clippy would want the
/// guests' compiler.
const OTHERS: [&str; 2] = ["examples/custom-plugin", "host/tests/fixtures/guests"];

/// `cargo xtask lint`.
pub(crate) fn lint() -> Result<()> {
    format()?;
    let mut clippy = cargo(&root());
    clippy.args(["clippy", "--workspace", "--all-targets", "--target-dir"]).arg(host_target());
    command::run("clippy", clippy.args(["--", "-D", "warnings"]))
}

fn format() -> Result<()> {
    command::run("checking the format", cargo(&root()).args(["fmt", "--all", "--check"]))?;
    for other in OTHERS {
        let folder = root().join(other);
        if folder.join("Cargo.toml").exists() {
            let what = format!("checking the format of {other}");
            command::run(&what, cargo(&folder).args(["fmt", "--all", "--check"]))?;
        }
    }
    Ok(())
}
