//! `cargo xtask`: every command a developer or a build machine needs, from a fresh checkout.
//!
//! `demo`, `test` and `bench` call `plugins` first, and `plugins` asks `toolchain` for a compiler that
//! can build WebAssembly components; on a machine without one it is installed on the way.

mod bench;
mod command;
mod counts;
mod debian;
mod demo;
mod linker;
mod lint;
mod packages;
mod plugins;
mod test;
mod toolchain;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo [--seconds N]   build everything and run the live demo, until Ctrl-C or for N seconds
  test [--all]         every test; --all adds the slow campaigns
  build                the plugins, then the host and the demo in release
  plugins              the stock plugins into target/plugins, the test guests into target/fixtures
  plugin build PATH    one plugin crate outside this workspace; prints the path of its .wasm
  bench NAME [--peers] one benchmark of host/benches; --peers: beside other servers, which are installed
  counts [--update]    instructions per message of each stage, against host/counts/baseline.json; --update: writes it
  lint                 formatting and clippy, warnings are errors

environment:
  WEIR_GUESTS=rustup   build guests with the active rustup toolchain only
  WEIR_GUESTS=debian   build guests with Debian's rustc-web only
  CHROME=PATH          the browser for tests, where it is not found as chromium or google-chrome";

/// What the command line asked for.
#[derive(Debug, PartialEq)]
enum Task {
    Demo { seconds: Option<u64> },
    Test { all: bool },
    Build,
    Plugins,
    PluginBuild { path: String },
    Bench { name: String, arguments: Vec<String> },
    Counts { update: bool },
    Lint,
    Help,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let task = match parse(&words) {
        Ok(task) => task,
        Err(why) => {
            eprintln!("xtask: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parse(words: &[&str]) -> Result<Task, String> {
    match words {
        [] => Err("a command is missing".to_owned()),
        ["demo"] => Ok(Task::Demo { seconds: None }),
        ["demo", "--seconds", count] => match count.parse() {
            Ok(seconds) => Ok(Task::Demo { seconds: Some(seconds) }),
            Err(_) => Err(format!("`--seconds {count}` is not a whole number of seconds")),
        },
        ["test"] => Ok(Task::Test { all: false }),
        ["test", "--all"] => Ok(Task::Test { all: true }),
        ["build"] => Ok(Task::Build),
        ["plugins"] => Ok(Task::Plugins),
        ["plugin", "build", path] => Ok(Task::PluginBuild { path: (*path).to_owned() }),
        ["bench"] => Ok(Task::Bench { name: String::new(), arguments: Vec::new() }),
        ["bench", name, arguments @ ..] => {
            let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
            Ok(Task::Bench { name: (*name).to_owned(), arguments })
        }
        ["counts"] => Ok(Task::Counts { update: false }),
        ["counts", "--update"] => Ok(Task::Counts { update: true }),
        ["lint"] => Ok(Task::Lint),
        ["help" | "--help" | "-h"] => Ok(Task::Help),
        other => Err(format!("`{}` is not a command", other.join(" "))),
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Demo { seconds } => demo::demo(seconds),
        Task::Test { all } => test::test(all),
        Task::Build => demo::build(),
        Task::Plugins => plugins::plugins(),
        Task::PluginBuild { path } => plugins::build_one(Path::new(&path)),
        Task::Bench { name, arguments } => bench::bench(&name, &arguments),
        Task::Counts { update } => counts::counts(update),
        Task::Lint => lint::lint(),
        Task::Help => {
            println!("{USAGE}");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_every_command_of_the_usage() {
        assert_eq!(parse(&["demo", "--seconds", "20"]), Ok(Task::Demo { seconds: Some(20) }));
        assert_eq!(parse(&["test", "--all"]), Ok(Task::Test { all: true }));
        assert_eq!(parse(&["counts", "--update"]), Ok(Task::Counts { update: true }));
        assert_eq!(parse(&["plugin", "build", "x"]), Ok(Task::PluginBuild { path: "x".into() }));
        let bench = Task::Bench { name: "fanout".into(), arguments: vec!["--peers".into()] };
        assert_eq!(parse(&["bench", "fanout", "--peers"]), Ok(bench));
    }

    #[test]
    fn refuses_what_it_does_not_know_by_name() {
        assert!(parse(&[]).is_err());
        assert_eq!(parse(&["plugin", "make", "x"]), Err("`plugin make x` is not a command".into()));
        assert!(parse(&["demo", "--seconds", "soon"]).is_err_and(|why| why.contains("soon")));
    }
}
