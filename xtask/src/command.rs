//! Running other programs: where, with which environment, and what is said when they fail.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a program with a time limit is looked at.
const POLL: Duration = Duration::from_millis(50);

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Where host crates are built. Guests never go there: their flags differ, and `cargo clean` of one
/// should not cost the other.
pub(crate) fn host_target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => std::path::absolute(&dir).unwrap_or_else(|_| dir.into()),
        None => root().join("target"),
    }
}

/// Cargo for host crates, started in `dir`, without the variables that `cargo run` set about xtask itself.
pub(crate) fn cargo(dir: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(dir);
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO_BIN_NAME" {
            command.env_remove(&name);
        }
    }
    command
}

/// Whether the program is on the path or, as servers are, in `/usr/sbin`.
pub(crate) fn is_here(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin".into()]).any(|folder| folder.join(program).is_file())
}

/// Says what is about to happen, so that a long silence always has a name.
pub(crate) fn step(what: &str) {
    eprintln!("xtask: {what}");
}

/// Runs to the end with the caller's stdin and stdout; any status but success is an error naming `what`.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    step(what);
    let status = command.status().with_context(|| format!("{what}: cannot start {}", line(command)))?;
    succeeded(what, command, status)
}

/// Runs to the end and returns stdout; stderr is passed through only on failure.
pub(crate) fn output(what: &str, command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{what}: cannot start {}", line(command)))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
    }
    succeeded(what, command, output.status)?;
    String::from_utf8(output.stdout).with_context(|| format!("{what}: the output is not UTF-8"))
}

/// Whether the program ran silently and well within `limit`; past it, it is killed.
pub(crate) fn succeeds_within(limit: Duration, command: &mut Command) -> bool {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(mut child) = child else { return false };
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
            Ok(None) | Err(_) => {
                // Both fail only when the child is gone already, which is what is wanted.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

fn succeeded(what: &str, command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("{what}: failed ({status}), the command was: {}", line(command));
    }
    Ok(())
}

fn line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_program_is_killed_at_its_limit() {
        let begin = Instant::now();
        assert!(!succeeds_within(Duration::from_millis(100), Command::new("sleep").arg("30")));
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_failure_names_the_step_and_the_command() {
        let error = run("the step", &mut Command::new("false")).unwrap_err().to_string();
        assert!(error.contains("the step") && error.contains("false"), "{error}");
    }
}
