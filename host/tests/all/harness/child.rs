//! `weir serve` in a process of its own, for what only a process can do: be killed, get signals, exit.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::{Folders, LOOK, PATIENCE, Reach, Setup, eventually};

/// A running `weir serve`; killed when it is dropped.
pub struct Child {
    process: std::process::Child,
    pub reach: Reach,
    log: PathBuf,
}

impl Setup {
    /// Writes `weir.toml`: what the harness needs, then `more`.
    pub fn write_config(&self, more: &str) -> PathBuf {
        let path = self.folders.root().join("weir.toml");
        let text = format!(
            "shards = 2\n[http]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [plugin]\ndeadline = \"1s\"\npass_deadline = \"4s\"\nstore_deadline = \"10s\"\n{more}"
        );
        std::fs::write(&path, text).expect("write weir.toml");
        path
    }

    /// Starts a process and waits until it takes traffic. May be called again after its end.
    pub async fn spawn(&self) -> Child {
        self.spawn_in(&[]).await
    }

    /// Starts `weir serve FLAGS --data DIR` in the setup's own folder, with these variables in its environment, and waits
    /// until it takes traffic.
    pub async fn serve(&self, flags: &[&str], environment: &[(&str, &str)]) -> Child {
        let mut program = weir();
        program.arg("serve").args(flags).arg("--data").arg(self.folders.data());
        program.current_dir(self.folders.root()).envs(environment.iter().copied());
        Child::run(&self.folders, program).await
    }

    /// As [`spawn`](Self::spawn), with a variable in its environment.
    pub async fn spawn_with(&self, variable: &str, value: &OsStr) -> Child {
        self.spawn_in(&[(variable, value)]).await
    }

    /// As [`spawn`](Self::spawn), with variables in its environment.
    pub async fn spawn_in(&self, environment: &[(&str, &OsStr)]) -> Child {
        let config = self.folders.root().join("weir.toml");
        if !config.exists() {
            self.write_config("");
        }
        let mut program = weir();
        program.envs(environment.iter().copied());
        Child::spawn(&self.folders, &config, program).await
    }

    /// As [`spawn`](Self::spawn), with so many KiB of address space.
    pub async fn spawn_within(&self, kib: u64) -> Child {
        let config = self.write_config("");
        let mut limited = Command::new("sh");
        let script = format!("ulimit -v {kib} && exec \"$0\" \"$@\"");
        limited.args(["-c", &script]).arg(weir().get_program());
        Child::spawn(&self.folders, &config, limited).await
    }
}

impl Child {
    async fn spawn(folders: &Folders, config: &std::path::Path, mut program: Command) -> Self {
        program.args(["serve", "--config"]).arg(config);
        Self::run(folders, program).await
    }

    async fn run(folders: &Folders, mut program: Command) -> Self {
        let file_of_addresses = folders.data().join("addresses.json");
        if file_of_addresses.exists() {
            std::fs::remove_file(&file_of_addresses).expect("forget where the process before listened");
        }
        let log = folders.root().join("weir.log");
        let file = std::fs::File::options().create(true).append(true).open(&log).expect("the log file");
        let mut process =
            program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().expect("weir starts");
        let deadline = Instant::now() + PATIENCE;
        let mut addresses = loop {
            if let Some(found) = read(&file_of_addresses) {
                break found;
            }
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(status) = process.try_wait().expect("its status") {
                panic!("weir ended with {status} before it was ready:\n{}", said());
            }
            assert!(Instant::now() < deadline, "weir was not ready in time:\n{}", said());
            tokio::time::sleep(LOOK).await;
        };
        let mut own = |name: &str| addresses.remove(name).expect("its address");
        let (http, admin) = (own("http"), own("admin"));
        let reach = Reach::wait(http, admin, addresses, folders).await;
        Self { process, reach, log }
    }

    /// Kills it as a power cut would, as far as a process can tell.
    pub fn kill(mut self) {
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it is gone");
    }

    /// Its resident memory, in bytes.
    pub fn resident(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let _ = self.signal(Signal::TERM);
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// It stands still, and its connections with it, until it is thawed.
    pub fn freeze(&self) {
        let pid = self.signal(Signal::STOP);
        waitpid(Some(pid), WaitOptions::UNTRACED).expect("all of its threads stand still");
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) -> Pid {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).expect("its id");
        kill_process(pid, signal).expect("it gets the signal");
        pid
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let process = std::sync::Mutex::new(&mut self.process);
        eventually("weir ends", async || {
            process.lock().expect("not poisoned").try_wait().expect("its status")
        })
        .await
    }

    /// What it has written to standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The program, without what the environment of the tests would tell it.
pub fn weir() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WEIR_") {
            command.env_remove(name);
        }
    }
    command
}

fn read(addresses: &std::path::Path) -> Option<BTreeMap<String, SocketAddr>> {
    serde_json::from_str(&std::fs::read_to_string(addresses).ok()?).ok()
}
