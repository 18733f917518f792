//! `cargo run -p weir-live --bin weir-sensor -- --url http://127.0.0.1:8080 --key KEY`
//!
//! Posts batches of this machine's load, memory, CPU and network counters to `sensors/NAME/batches`; every
//! fourth one is malformed on purpose, and every seventh is posted twice.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use weir_live::client::{Endpoint, Login};
use weir_live::sensor::Sensor;
use weir_live::signals;

/// Post batches of this machine's load to the router.
#[derive(Parser)]
struct Args {
    /// The router: http://HOST:PORT
    #[arg(long)]
    url: Endpoint,
    /// The key. It must be allowed to publish to sensors/NAME/batches
    #[arg(long, env = "WEIR_KEY", hide_env_values = true, default_value = "")]
    key: String,
    /// NAME: that of the key
    #[arg(long, default_value = "sensor-1")]
    name: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let login = Login { endpoint: args.url, key: args.key, name: args.name, origin: "sensor" };
    let work = async { Sensor::new(login, Arc::new(signals::Aloud)).run(signals::stop()?).await };
    signals::exit_code(work.await)
}
