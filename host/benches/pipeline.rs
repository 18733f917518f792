//! ns per message through authorize, filter, transform and re-authorize on one core, for 0, 1, 2 and 4
//! plugins: `cargo xtask bench pipeline`. The plugins are real components that look at the message and let it
//! pass, so that the figure is the price of the crossing and not of somebody's logic. Nothing is committed,
//! logged or routed: that is the same for any number of plugins.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark whose set-up fails has nothing better to do than to say so"
)]

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir::accounts::{Accounts, Records};
use weir::config::{Compile, PluginLimits, Trust};
use weir::message::{Grant, Message, Principal, now_us};
use weir::metrics::Metrics;
use weir::pipeline::{Became, Pass, Stages, process};
use weir::plugin::{Plugins, PluginsOptions};
use weir::session::{OutboundLimits, Session};
use weir::store::{Store, StoreOptions};
use weir_contract::packed::{put, put_text, put_u64, tag};

/// Two filters that keep, two transforms that leave unchanged: the fixtures of the tests.
const CHAIN: [(&str, &str); 4] =
    [("keep-1", "keep"), ("keep-2", "keep"), ("same-1", "same"), ("same-2", "same")];
const PAYLOAD: usize = 128;
const SAMPLES: usize = 9;
const CALLS: u32 = 100_000;

struct NoKeys;

impl Records for NoKeys {
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Vec::new())
    }

    fn save(&self, _: &[u8], _: &[u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }

    fn apply(
        &self,
        _: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

fn main() {
    let mut figures = Vec::new();
    for count in [0, 1, 2, 4] {
        let ns = measure(count);
        println!("{count} plugins: {ns:>6.0} ns per message, {:>9.0} messages per second", 1e9 / ns);
        figures.push(format!("\"{count}\":{ns:.0}"));
    }
    println!("{{\"ns\":{{{}}}}}", figures.join(","));
}

/// Median of several samples, after a warm-up.
fn measure(count: usize) -> f64 {
    let home = tempfile::tempdir().expect("a temporary folder");
    let folder = home.path().join("plugins");
    std::fs::create_dir(&folder).expect("the plugins folder");
    bind(&folder, "open", "plugin = \"stock:open\"");
    for (name, component) in CHAIN.iter().take(count) {
        let built =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../target/fixtures/{component}.wasm"));
        std::fs::copy(&built, folder.join(format!("{name}.wasm")))
            .unwrap_or_else(|e| panic!("{}: {e}; run `cargo xtask plugins`", built.display()));
    }
    let store = Store::open(&home.path().join("data"), StoreOptions::default()).expect("a store");
    let metrics = Arc::new(Metrics::new());
    let limits = PluginLimits::default();
    let plugins = Plugins::start(PluginsOptions {
        folder,
        versions: home.path().join("versions"),
        cache: None,
        compiler: None,
        compile: Compile::default(),
        trust: Trust::default(),
        limits: limits.clone(),
        ceiling: weir::config::LimitsTable::ceiling(),
        shards: 1,
        store: store.clone(),
        accounts: Arc::new(Accounts::open(Box::new(NoKeys)).expect("accounts")),
        metrics: Arc::clone(&metrics),
    })
    .expect("plugins");
    let chain = plugins.chain().load_full();
    assert_eq!(chain.filters.len() + chain.transforms.len(), count, "every plugin is in the chain");
    let mut stages = Stages::default();
    stages.adopt(&chain, &metrics);
    let (session, message) = publisher();
    let _clock = plugins.engine().running();
    let mut round = || {
        let started = Instant::now();
        for _ in 0..CALLS {
            let began = Instant::now();
            let pass = Pass {
                session: &session,
                authority: (1, 0),
                most_messages: limits.pass_messages,
                deadline: began + Duration::from_millis(250),
                clock: Cell::new(began),
                recorder: None,
            };
            let out = process(&mut stages, &pass, &message).expect("passes");
            assert!(matches!(std::hint::black_box(out), Became::Itself));
        }
        started.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    round();
    let mut samples: Vec<f64> = (0..SAMPLES).map(|_| round()).collect();
    samples.sort_by(f64::total_cmp);
    plugins.stop();
    store.close().expect("closes");
    samples[SAMPLES / 2]
}

fn bind(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(format!("{name}.toml")), text).expect("a binding file");
}

/// A session that may publish (its permission is remembered after the first message) and a message of its.
fn publisher() -> (Session, Message) {
    let grant = Grant {
        tenant: "main".into(),
        name: "sensor-1".into(),
        origin: "sensor".into(),
        claims: br##"{"publish":["#"],"subscribe":["#"]}"##.to_vec(),
        ..Grant::default()
    };
    let principal = Principal::new(grant, "open".into(), "http", "session1").expect("a principal");
    let limits = OutboundLimits { messages: 1, bytes: 1 };
    let session = Session::new("session1".into(), principal, "http", String::new(), limits, None);
    let mut meta = Vec::new();
    put(&mut meta, tag::ID, &[7; 16]);
    put_u64(&mut meta, tag::RECEIVED_US, now_us());
    meta.extend_from_slice(&session.principal.packed[1..]);
    put_text(&mut meta, tag::CONTENT_TYPE, "application/json");
    let payload = vec![b'x'; PAYLOAD].into();
    (session, Message { topic: "sensors/cellar/temperature".into(), meta: meta.into(), payload })
}
