//! Programs that are no part of this repository: Node, Python and Chromium.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::harness::LOOK;

/// A whole file of tests takes no longer, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A program to be started, with its output in a file.
pub struct Program {
    command: Command,
    folder: tempfile::TempDir,
}

/// A program that runs; it ends with this.
pub struct Running {
    process: Child,
    folder: tempfile::TempDir,
}

/// Where the clients are.
pub fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients")
}

/// Node's tests in a file of `clients/test`.
pub fn node(file: &str) -> Program {
    let mut program = Program::new(&["node", "nodejs"], "nodejs");
    program.command.arg("--test").arg(clients().join("test").join(file));
    program
}

/// Python's tests in a file of `clients/test`.
pub fn python(file: &str) -> Program {
    let mut program = Program::new(&["python3"], "python3");
    program.command.arg(clients().join("test").join(file)).arg("--verbose");
    program
}

/// A Python script, with the packages of `tests/fixtures/foreign/requirements.txt`.
pub fn packaged(script: &Path) -> Program {
    packaged_with("requirements.txt", script)
}

/// A Python script, with the packages that a file of `tests/fixtures/foreign` lists, of which there is one copy for all
/// tests.
pub fn packaged_with(list: &str, script: &Path) -> Program {
    static MADE: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let python = made.entry(list.to_owned()).or_insert_with(|| environment(list)).clone();
    drop(made);
    let mut program = Program::of(python.into());
    program.command.arg(script);
    program
}

/// The Python of an environment with the packages of a list.
fn environment(list: &str) -> PathBuf {
    let wanted = foreign().join(list);
    let text = std::fs::read_to_string(&wanted).expect("the list of packages");
    let name = list.replace("requirements.txt", "python").replace(".txt", "");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (python, made) = (folder.join("bin/python"), folder.join("made-of"));
    if std::fs::read_to_string(&made).is_ok_and(|of| of == text) {
        return python;
    }
    let mut environment = Program::new(&["python3"], "python3").command;
    finish(environment.args(["-m", "venv", "--clear"]).arg(&folder));
    finish(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(&wanted));
    // Behind all else: what was broken off is made anew.
    std::fs::write(made, text).expect("a note of what it is made of");
    python
}

/// A script for Node that may `require` the packages of `tests/fixtures/foreign/package-lock.json`, of which there is one
/// copy for all tests.
pub fn node_packaged(script: &Path) -> Program {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let folder = MADE.get_or_init(|| {
        let files = ["package.json", "package-lock.json"];
        let read = |file| std::fs::read_to_string(foreign().join(file)).expect("the list of packages");
        let text = files.map(read).concat();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node");
        let made = folder.join("made-of");
        if std::fs::read_to_string(&made).is_ok_and(|of| of == text) {
            return folder;
        }
        std::fs::create_dir_all(&folder).expect("a folder for the packages");
        for file in files {
            std::fs::copy(foreign().join(file), folder.join(file)).expect("copy the list of packages");
        }
        let mut npm = Program::new(&["npm"], "npm").command;
        finish(npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder));
        // Behind all else: what was broken off is made anew.
        std::fs::write(made, text).expect("a note of what it is made of");
        folder
    });
    let mut program = Program::new(&["node", "nodejs"], "nodejs");
    program.command.env("NODE_PATH", folder.join("node_modules")).arg(script);
    program
}

fn finish(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = || [output.stdout.as_slice(), &output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said()));
}

/// Where the programs are that speak the protocols of other systems.
pub fn foreign() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/foreign")
}

/// A program in JavaScript (`js`) or Python (`python`), which may import the client.
pub fn written(language: &str, text: &str) -> Program {
    let (mut program, client, name) = match language {
        "js" => (Program::new(&["node", "nodejs"], "nodejs"), "weir.js", "example.mjs"),
        _ => (Program::new(&["python3"], "python3"), "weir.py", "example.py"),
    };
    let folder = program.folder.path();
    std::fs::copy(clients().join(client), folder.join(client)).expect("copy the client");
    std::fs::write(folder.join(name), text).expect("write the program");
    program.command.arg(folder.join(name));
    program
}

/// A browser without a window, at this address.
pub fn chromium(url: &str) -> Program {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let mut program = match std::env::var_os("CHROME") {
        Some(path) => Program::of(path),
        None => Program::new(&names, "chromium"),
    };
    let profile = program.folder.path().join("profile");
    program.command.arg(format!("--user-data-dir={}", profile.display()));
    program.command.args(["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
    program.command.args(["--disable-background-networking", "--disable-extensions", "--no-proxy-server"]);
    // Its sandbox does not start for root, and the only page that it opens is ours.
    program.command.args(["--no-sandbox", url]);
    program
}

impl Program {
    fn new(names: &[&str], package: &str) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = names.iter().find_map(|name| {
            std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
        });
        let list = names.join(" or ");
        Self::of(found.unwrap_or_else(|| panic!("there is no {list} here: install the Debian package {package}, or run `cargo xtask test`")).into())
    }

    fn of(program: OsString) -> Self {
        Self { command: Command::new(program), folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// With one more argument.
    pub fn with(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub fn start(mut self) -> Running {
        let output = File::create(self.folder.path().join("output")).expect("a file for its output");
        let errors = output.try_clone().expect("the same file");
        self.command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let process = self.command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        Running { process, folder: self.folder }
    }

    /// Runs it to its end, which must be a good one, and returns what it has said.
    pub async fn run(mut self, environment: &[(&str, String)]) -> String {
        self.command.envs(environment.iter().map(|(name, value)| (name, value)));
        let mut running = self.start();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match running.process.try_wait().expect("its status") {
                Some(status) if status.success() => return running.output(),
                Some(status) => panic!("{status}:\n{}", running.output()),
                None => assert!(Instant::now() < deadline, "not done in time:\n{}", running.output()),
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Running {
    /// All that it has said.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
