//! Every test, from nothing: guests, the workspace, the crate outside it, and the slow campaigns on demand.

use std::env;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::command::{self, cargo, host_target, root};
use crate::{debian, plugins};

/// Programs that tests start, by any of their names, and the Debian package that brings one. Whoever writes such a
/// test adds its program here.
const PROGRAMS: [(&[&str], &str); 7] = [
    (&["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"], "chromium"),
    (&["mosquitto"], "mosquitto"),
    (&["mosquitto_pub"], "mosquitto-clients"),
    (&["nginx"], "nginx-light"),
    (&["node", "nodejs"], "nodejs"),
    (&["npm"], "npm"),
    (&["python3"], "python3"),
];

/// What Debian's Python lacks to make environments with packages in them, for tests of other people's clients.
const PYTHON_VENV: &str = "python3-venv";

/// Names a browser that is on no PATH, or under another name.
const CHROME: &str = "CHROME";

/// The crate that shows how an integrator works: its own workspace, its own lock file.
const CUSTOM: &str = "examples/custom-plugin";

/// Most tests of the host wait for sockets most of their time: more of them than cores at once.
const TEST_THREADS: &str = "8";

/// A test that takes minutes: skipped by `cargo test` unless its variable is set.
struct Campaign {
    name: &'static str,
    /// Where it lives; a campaign that is not in the checkout is not run.
    path: &'static str,
    variable: &'static str,
    arguments: &'static [&'static str],
}

const CAMPAIGNS: [Campaign; 1] = [Campaign {
    name: "campaign",
    path: "host/tests/campaign",
    variable: "WEIR_CAMPAIGN",
    arguments: &["--package", "weir", "--release", "--test", "campaign"],
}];

/// `cargo xtask test`: stops at the first step that fails.
pub(crate) fn test(all: bool) -> Result<()> {
    debian::install(&missing())?;
    plugins::plugins()?;
    let mut workspace = cargo(&root());
    workspace.args(["test", "--workspace", "--target-dir"]).arg(host_target());
    workspace.env("RUST_TEST_THREADS", TEST_THREADS);
    command::run("testing the workspace", &mut workspace)?;
    custom_plugin()?;
    if all {
        campaigns()?;
    }
    command::step("every test passed");
    Ok(())
}

/// The packages of the programs that are not here, wherever those that are came from.
fn missing() -> Vec<&'static str> {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_here = |name: &&str| env::split_paths(&path).any(|folder| folder.join(name).is_file());
    let named = |package: &str| package == "chromium" && env::var_os(CHROME).is_some();
    let wanted = PROGRAMS.iter().filter(|(names, package)| !names.iter().any(is_here) && !named(package));
    let mut packages: Vec<_> = wanted.map(|(_, package)| *package).collect();
    let mut python = Command::new("python3");
    let probe = python.args(["-c", "import ensurepip, venv"]).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        packages.push(PYTHON_VENV);
    }
    packages
}

fn custom_plugin() -> Result<()> {
    let folder = root().join(CUSTOM);
    if !folder.exists() {
        command::step(&format!("skipped: there is no {CUSTOM} in this checkout"));
        return Ok(());
    }
    let mut test = cargo(&folder);
    test.args(["test", "--target-dir"]).arg(folder.join("target"));
    command::run(&format!("testing {CUSTOM} natively"), &mut test)?;
    plugins::build_one(&folder)
}

fn campaigns() -> Result<()> {
    for campaign in CAMPAIGNS {
        let path = root().join(campaign.path);
        if !path.exists() && !path.with_extension("rs").exists() {
            command::step(&format!("skipped: there is no {} in this checkout", campaign.path));
            continue;
        }
        let mut test = cargo(&root());
        test.arg("test").args(campaign.arguments).arg("--target-dir").arg(host_target());
        test.env(campaign.variable, "1");
        command::run(&format!("running the slow campaign {}", campaign.name), &mut test)?;
    }
    Ok(())
}
