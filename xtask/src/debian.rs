//! Installing Debian packages when they are missing.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command;

/// Seconds to wait for another apt or dpkg to finish.
const LOCK_TIMEOUT: &str = "DPkg::Lock::Timeout=300";
/// `apt-get update` does not honour that timeout for its own lists, so it is tried again.
const UPDATE_TRIES: u32 = 6;
const UPDATE_PAUSE: Duration = Duration::from_secs(5);

/// Whether this machine installs packages with apt.
pub(crate) fn is_here() -> bool {
    Path::new("/usr/bin/apt-get").exists()
}

/// The packages of the list that are not installed.
pub(crate) fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    packages.iter().copied().filter(|package| !installed(package)).collect()
}

/// Installs what is missing; does nothing, and asks nobody for rights, when nothing is.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_here() {
        bail!("these Debian packages are needed, and there is no apt-get here to install them: {list}");
    }
    update().with_context(|| format!("needed to install {list}"))?;
    let mut install = apt()?;
    install.args(["install", "--yes", "--no-install-recommends", "--no-remove"]).args(&missing);
    command::run(&format!("installing {list}"), &mut install)
        .with_context(|| format!("install these packages by hand: {list}"))
}

fn update() -> Result<()> {
    for _ in 1..UPDATE_TRIES {
        let done = command::run("refreshing the package lists", apt()?.args(["update", "--quiet"]));
        if done.is_ok() {
            return Ok(());
        }
        std::thread::sleep(UPDATE_PAUSE);
    }
    command::run("refreshing the package lists, last try", apt()?.args(["update", "--quiet"]))
}

fn installed(package: &str) -> bool {
    let query =
        Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]).output();
    query.is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

fn apt() -> Result<Command> {
    let user = command::output("asking for the user id", Command::new("id").arg("--user"))?;
    let mut apt = if user.trim() == "0" {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        // Never asks for a password: a build that waits for one looks like a build that hangs.
        sudo.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    };
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", LOCK_TIMEOUT]);
    // apt's chatter must not end up in an answer on stdout.
    apt.stdin(std::process::Stdio::null()).stdout(std::io::stderr());
    Ok(apt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_does_not_exist_is_missing() {
        assert_eq!(missing(&["no-such-package-anywhere"]), ["no-such-package-anywhere"]);
    }
}
