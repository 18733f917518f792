//! Calls into guests. Compiled guest code does not run under valgrind, so a message through a chain of real components
//! is timed, and its time given as a multiple of a native loop's in the same moment.

use std::cell::Cell;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use weir::accounts::{Accounts, Records};
use weir::config::{Compile, LimitsTable, PluginLimits, Trust};
use weir::message::Message;
use weir::metrics::Metrics;
use weir::pipeline::{Became, Pass, Stages, process};
use weir::plugin::{Plugins, PluginsOptions};
use weir::session::Session;
use weir::store::Store;

use crate::material::{TOPIC, message, session, store};
use crate::native::Native;

/// Chains that are measured: the fixtures of the tests that look at a message and let it pass.
const CHAINS: [(&str, &[&str]); 3] =
    [("filter", &["keep"]), ("transform", &["same"]), ("four-plugins", &["keep", "keep", "same", "same"])];

/// Pairs of samples whose median is taken: it is right as long as fewer than half of them are disturbed.
const SAMPLES: usize = 301;
/// Medians of each chain, over some seconds, of which the least counts: what slows the code slows all of them, a busy
/// machine only some.
const MEDIANS: usize = 20;
/// Messages and turns of one sample, some 50 µs: far less than the time that the system lets a program run.
const MESSAGES: u32 = 32;
const TURNS: u32 = 32;
/// Longest call and longest pass. On a busy machine a guest may stand still for long, and nobody is to blame.
const PATIENCE: Duration = Duration::from_secs(60);

/// A chain in a router of its own.
struct Guests {
    plugins: Plugins,
    stages: Stages,
    session: Session,
    message: Message,
    native: Box<Native>,
    store: Store,
    _home: TempDir,
}

/// JSON object: of each chain, what a message costs in turns of the native loop.
pub fn ratios() -> Value {
    let mut chains: Vec<_> =
        CHAINS.iter().map(|(name, guests)| (*name, Guests::start(guests), f64::INFINITY)).collect();
    for _ in 0..MEDIANS {
        for (_, guests, least) in &mut chains {
            *least = least.min(guests.median());
        }
    }
    let ratios = chains.into_iter().map(|(name, guests, least)| {
        guests.stop();
        (name.to_owned(), json!((least * 1_000.0).round() / 1_000.0))
    });
    Value::Object(ratios.collect::<Map<_, _>>())
}

impl Guests {
    fn start(guests: &[&str]) -> Self {
        let (home, store) = store();
        let folder = home.path().join("plugins");
        std::fs::create_dir(&folder).expect("the plugins folder");
        std::fs::write(folder.join("open.toml"), "plugin = \"stock:open\"").expect("a binding file");
        for (number, guest) in guests.iter().enumerate() {
            put(&folder, &format!("{guest}-{number}"), guest);
        }
        let metrics = Arc::new(Metrics::new());
        let plugins = Plugins::start(PluginsOptions {
            folder,
            versions: home.path().join("versions"),
            cache: None,
            compiler: None,
            compile: Compile::default(),
            trust: Trust::default(),
            limits: PluginLimits { deadline: PATIENCE, ..PluginLimits::default() },
            ceiling: LimitsTable::ceiling(),
            shards: 1,
            store: store.clone(),
            accounts: Arc::new(Accounts::open(Box::new(NoAccounts)).expect("accounts")),
            metrics: Arc::clone(&metrics),
        });
        let plugins = plugins.expect("plugins");
        let chain = plugins.chain().load_full();
        assert_eq!(chain.filters.len() + chain.transforms.len(), guests.len(), "every guest is in the chain");
        let mut stages = Stages::default();
        stages.adopt(&chain, &metrics);
        let session = session("publisher");
        let message = message(&session, TOPIC);
        Self { plugins, stages, session, message, native: Native::new(), store, _home: home }
    }

    /// Median of the quotients of neighbouring samples, so that whatever slows the machine slows both.
    fn median(&mut self) -> f64 {
        let _clock = self.plugins.engine().running();
        let (stages, session, message) = (&mut self.stages, &self.session, &self.message);
        let mut sample = || {
            let messages = timed(|| (0..MESSAGES).for_each(|_| pass(stages, session, message)));
            let turns = timed(|| {
                black_box((0..TURNS).fold(0, |sum, _| self.native.turn(sum)));
            });
            (messages / f64::from(MESSAGES)) / (turns / f64::from(TURNS))
        };
        let mut samples: Vec<f64> = (0..SAMPLES).map(|_| sample()).collect();
        samples.sort_by(f64::total_cmp);
        samples[SAMPLES / 2]
    }

    fn stop(self) {
        self.plugins.stop();
        self.store.close().expect("closes");
    }
}

fn pass(stages: &mut Stages, session: &Session, message: &Message) {
    let began = Instant::now();
    let pass = Pass {
        session,
        authority: (1, 0),
        most_messages: 64,
        deadline: began + PATIENCE,
        clock: Cell::new(began),
        recorder: None,
    };
    let became = process(stages, &pass, message).expect("passes");
    assert!(matches!(black_box(became), Became::Itself));
}

fn timed(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

fn put(folder: &Path, name: &str, guest: &str) {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/fixtures/{guest}.wasm"));
    std::fs::copy(&built, folder.join(format!("{name}.wasm")))
        .unwrap_or_else(|e| panic!("{}: {e}; run `cargo xtask plugins`", built.display()));
}

/// Nobody has an account.
struct NoAccounts;

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Records for NoAccounts {
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Failure> {
        Ok(Vec::new())
    }

    fn save(&self, _: &[u8], _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }

    fn apply(&self, _: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), Failure> {
        Ok(())
    }
}
