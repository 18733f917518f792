//! `cargo run -p weir-live --bin weir-device -- --url ws://127.0.0.1:8080 --key KEY`
//!
//! Streams this machine's load, memory, CPU and network counters to `devices/NAME/readings`, and obeys
//! `devices/NAME/commands`: `{"seq":1,"interval_ms":50,"blink":true}`. Each command is confirmed on
//! `devices/NAME/state`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use weir_live::client::{Endpoint, Login};
use weir_live::device::Device;
use weir_live::signals;

/// Stream this machine's load to the router, and obey commands.
#[derive(Parser)]
struct Args {
    /// The router: ws://HOST:PORT
    #[arg(long)]
    url: Endpoint,
    /// The key. It must be allowed to publish to devices/NAME/readings and devices/NAME/state, and to
    /// subscribe to devices/NAME/commands
    #[arg(long, env = "WEIR_KEY", hide_env_values = true, default_value = "")]
    key: String,
    /// NAME: that of the key
    #[arg(long, default_value = "device-1")]
    name: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let login = Login { endpoint: args.url, key: args.key, name: args.name, origin: "device" };
    let work = async {
        let stop = signals::stop()?;
        Device::connect(&login, Arc::new(signals::Aloud)).await?.run(stop).await
    };
    signals::exit_code(work.await)
}
