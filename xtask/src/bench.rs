//! Benchmarks of the host.

use std::fs;

use anyhow::{Result, bail};

use crate::command::{self, cargo, host_target, root};
use crate::{debian, plugins};

/// Servers that `--peers` compares with, and the Debian package that brings one.
const PEERS: [(&str, &str); 2] = [("mosquitto", "mosquitto"), ("nats-server", "nats-server")];

/// `cargo xtask bench NAME`: one file of `host/benches`, with the stock plugins embedded.
pub(crate) fn bench(name: &str, arguments: &[String]) -> Result<()> {
    let known = known();
    if !known.iter().any(|one| one == name) {
        let wanted =
            if name.is_empty() { "bench wants a name".to_owned() } else { format!("no bench `{name}`") };
        let list = if known.is_empty() { "host/benches is empty".to_owned() } else { known.join(", ") };
        bail!("{wanted}; there are: {list}");
    }
    if arguments.iter().any(|word| word == "--peers") {
        let missing = PEERS.iter().filter(|(program, _)| !command::is_here(program));
        debian::install(&missing.map(|(_, package)| *package).collect::<Vec<_>>())?;
    }
    plugins::plugins()?;
    let mut bench = cargo(&root());
    bench.args(["bench", "--package", "weir", "--bench", name]).arg("--target-dir").arg(host_target());
    bench.arg("--").args(arguments);
    command::run(&format!("running the bench {name}"), &mut bench)
}

fn known() -> Vec<String> {
    let files = fs::read_dir(root().join("host/benches")).into_iter().flatten().flatten();
    let mut names: Vec<String> = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}
