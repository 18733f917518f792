//! Wires everything together, and takes it apart in the right order.

mod background;
mod consumers;
mod rules;
mod notify;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use background::Background;
use consumers::AllConsumers;
pub(crate) use rules::store_options;
use rules::{delivery, patterns, recorded};

use crate::accounts::{self, Accounts, AccountsError};
use crate::admin::{self, AdminState, AdminToken, Logs, TentaImport, TokenError};
use crate::bridge::{self, Bridge};
use crate::config::{Config, LogRule, Site};
use crate::consumer::{self, Consumers};
use crate::dead_letters::DeadLetters;
use crate::durable::{Most, Registry};
use crate::gateway::{self, Door, DoorError, Service, listen};
use crate::ingress::{Ingress, IngressParts, Login, LoginContext};
use crate::metrics::{Metrics, Readiness};
use crate::outbox::{Direct, Outbox, WebhookError, Webhooks};
use crate::persistent;
use crate::pipeline::trace::Traces;
use crate::plugin::{LoadError, PluginState, PluginView, Plugins, PluginsOptions};
use crate::received::Received;
use crate::recorded::Recorder;
use crate::retained::{self, Retained};
use crate::router::Router;
use crate::sequencer::Sequencer;
use crate::session::Sessions;
use crate::shard::{self, ShardContext};
use crate::store::{Store, StoreError};
use crate::trial::{PassLimits, Trials};

/// Sockets that are already bound, so that a caller can choose port 0 and tell what came of it.
pub struct Listeners {
    /// The native gateway's.
    pub http: TcpListener,
    /// The operator's.
    pub admin: TcpListener,
    /// Those of [`Config::gateways`], by name. One that is missing is not served.
    pub gateways: BTreeMap<&'static str, TcpListener>,
}

/// Why the router does not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The data folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The accounts in it.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// The admin token in it.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The plugins folder.
    #[error(transparent)]
    Plugins(#[from] LoadError),
    /// A webhook's header.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// A listener.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// The system.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's words.
        error: std::io::Error,
    },
}

/// Runs until `shutdown`: then stops accepting, drains, closes sessions with 1001, flushes, returns.
pub async fn run(
    config: Config,
    listeners: Listeners,
    shutdown: CancellationToken,
) -> Result<(), ServerError> {
    let ready = Arc::new(Readiness::default());
    let token = AdminToken::load_or_create(&config.data)?;
    let doors = doors(&config, listeners)?;
    let starting = config.clone();
    let router = tokio::task::spawn_blocking(move || Parts::build(&starting))
        .await
        .map_err(|error| system("starting", std::io::Error::other(error)))??;
    let pass = PassLimits { deadline: config.plugin.pass_deadline, messages: config.plugin.pass_messages };
    let trials = Trials::new(router.store.clone(), Arc::clone(&router.plugins), pass);
    let state = AdminState {
        trials: Arc::new(Arc::clone(&trials)),
        token,
        hosts: config.admin.hosts.clone(),
        accounts: Arc::clone(&router.accounts),
        sessions: Arc::clone(router.ingress.sessions()),
        metrics: Arc::clone(&router.metrics),
        plugins: Arc::clone(&router.plugins) as Arc<dyn PluginView>,
        rebuilds: Arc::new(Arc::clone(&router.consumers)),
        consumers: Arc::new(AllConsumers {
            durable: Arc::clone(&router.durable),
            storage: Arc::clone(&router.consumers),
            webhooks: router.webhooks.clone(),
        }),
        ready: Arc::clone(&ready),
        logs: Logs::new(router.store.clone(), &config.logs),
        sequencer: Arc::clone(&router.sequencer),
        dead_letters: Arc::clone(&router.dead_letters),
        traces: Arc::clone(&router.traces),
        requeue: Arc::new(router.ingress.clone()),
        tenta: config.tenta.as_ref().map(|tenta| TentaImport::new(router.ingress.clone(), tenta)),
    };
    let closing = CancellationToken::new();
    let background = Background::start(&router, &ready, &closing);
    ready.done("server");
    announce(&config, &doors)?;
    let bridge = router.bridge(&config, &shutdown)?;
    if let Some(bridge) = &bridge {
        bridge.reads().await;
    }
    let services = gateway::services(&router.ingress, &config);
    let services = services.map_err(|error| system("opening a gateway", error))?;
    let mut doors: BTreeMap<_, _> =
        doors.into_iter().map(|door| (door.name(), door.counted(&router.metrics))).collect();
    let operators = doors.remove("admin");
    let admin_limits = config.limits.clone();
    let admin_closing = closing.clone();
    let admin = tokio::spawn(async move {
        if let Some(door) = operators {
            listen::serve(door, Service::Http(admin::router(state)), &admin_limits, admin_closing).await;
        }
    });
    let told = notify::start(&ready, &shutdown);
    let stopping = shutdown.clone();
    let ingress = router.ingress.clone();
    let unready = tokio::spawn(async move {
        stopping.cancelled().await;
        ready.wait("server", "stopping");
    });
    let served = services.into_iter().filter_map(|(name, service)| Some((doors.remove(name)?, service)));
    let serve = |(door, service)| listen::serve(door, service, &config.limits, shutdown.clone());
    join_all(served.map(serve)).await;
    unready.abort();
    if let Some(bridge) = bridge {
        bridge.ended().await;
    }
    ingress.end_replays().await;
    drop(ingress);
    let traces = Arc::clone(&router.traces);
    let stopped = tokio::task::spawn_blocking(move || {
        trials.stop();
        router.stop()
    });
    let stopped = stopped.await;
    // After the last message has been answered.
    traces.stop();
    closing.cancel();
    background.end().await;
    drop(admin.await);
    // Nobody listens there any more; if it cannot be removed, whoever reads it finds nobody.
    let _ = std::fs::remove_file(config.data.join(ADDRESSES));
    stopped.map_err(|error| system("stopping", std::io::Error::other(error)))??;
    drop(told);
    tracing::info!("stopped");
    Ok(())
}

/// The listeners, with what their connections pass.
fn doors(config: &Config, listeners: Listeners) -> Result<Vec<Door>, DoorError> {
    let Listeners { http, admin, gateways: mut bound } = listeners;
    bound.extend([("http", http), ("admin", admin)]);
    let open = |site: Site| Some(Door::open(bound.remove(site.name)?, site, &config.proxy));
    config.sites().into_iter().filter_map(open).collect()
}

/// The file in the data folder that says where this router listens.
const ADDRESSES: &str = "addresses.json";

/// Tells local programs where this router listens, also where port 0 was asked for: `DATA/addresses.json`,
/// `{"http":"127.0.0.1:8080","admin":"127.0.0.1:8081"}` and the gateways by their names, whole at every moment.
fn announce(config: &Config, doors: &[Door]) -> Result<(), ServerError> {
    let write = || {
        let all = doors.iter().map(|door| Ok((door.name(), door.local_addr()?)));
        let text = serde_json::json!(all.collect::<std::io::Result<BTreeMap<_, _>>>()?).to_string();
        let draft = config.data.join(format!("{ADDRESSES}.new"));
        std::fs::write(&draft, text)?;
        std::fs::rename(draft, config.data.join(ADDRESSES))
    };
    write().map_err(|error| system("writing addresses.json into the data folder", error))
}

fn system(what: &'static str, error: std::io::Error) -> ServerError {
    ServerError::System { what, error }
}

/// Everything that runs, in the order in which it was started.
struct Parts {
    store: Store,
    metrics: Arc<Metrics>,
    accounts: Arc<Accounts>,
    plugins: Arc<Plugins>,
    consumers: Arc<Consumers>,
    durable: Arc<Registry>,
    outbox: Arc<Outbox>,
    webhooks: Webhooks,
    sequencer: Arc<Sequencer>,
    dead_letters: Arc<DeadLetters>,
    traces: Arc<Traces>,
    ingress: Ingress,
    threads: Vec<JoinHandle<()>>,
}

impl Parts {
    fn build(config: &Config) -> Result<Self, ServerError> {
        let metrics = Arc::new(Metrics::new());
        let store = Store::open(&config.data, store_options(config))?;
        for (log, bytes) in store.other_logs() {
            tracing::warn!(
                log,
                bytes,
                "no [[log]] of the configuration has this name: it is kept and not read"
            );
        }
        consumer::hold_all(&store)?;
        // What is published never goes to a log of input, nor is one read for a subscription.
        let kept = |rule: &LogRule| if rule.record_input { Vec::new() } else { patterns(&rule.topics) };
        let topics: Vec<_> = config.logs.iter().map(kept).collect();
        let most =
            Most { per_principal: config.limits.consumers_per_principal, total: config.limits.consumers };
        // Early: it holds the logs for those who will come back.
        let durable = Registry::load(store.clone(), topics.clone(), most, metrics.consumers.clone())?;
        let accounts = Arc::new(
            Accounts::open(Box::new(store.table(accounts::TABLE)?))?
                .limited(config.accounts.clone())
                .with_configurations(store.table(accounts::tenta::CONFIGURATIONS)?)?,
        );
        let shards = match config.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            chosen => chosen,
        };
        let plugins = Arc::new(Plugins::start(PluginsOptions {
            folder: config.plugins.clone(),
            versions: config.data.join("versions"),
            cache: Some(config.data.join("compiled")),
            compiler: config.compiler.clone(),
            compile: config.compile.clone(),
            trust: config.trust.clone(),
            limits: config.plugin.clone(),
            ceiling: config.plugin_ceiling.clone(),
            shards,
            store: store.clone(),
            accounts: Arc::clone(&accounts),
            metrics: Arc::clone(&metrics),
        })?);
        if plugins.chain().load().auth.is_empty() {
            let plugins = config.plugins.display();
            tracing::warn!(%plugins, "no auth plugin is bound: the http listener refuses everybody. A file api-key.toml with the line `plugin = \"stock:api-key\"` lets in who has a key");
        }
        let router = Arc::new(Router::new(config.delivery.iter().flat_map(delivery).collect()));
        let most =
            retained::Most { messages: config.limits.retained_messages, bytes: config.limits.retained_bytes };
        let retained = Retained::load(store.clone(), most, metrics.retained.clone())?;
        let (received, found) = Received::open(store.clone())?;
        let persistent = persistent::Registry::load(store.clone(), Arc::clone(&received), found)?;
        let log_metrics = |log: &str| metrics.log(log);
        let (router_too, store_too) = (Arc::clone(&router), store.clone());
        let sequencer =
            Arc::new(Sequencer::new(store_too, router_too, retained, received, topics, log_metrics));
        let (most, counted) = (config.dead_letters.clone(), metrics.dead_letters.clone());
        let dead_letters = Arc::new(DeadLetters::open(store.clone(), most, counted)?);
        let outbox = Outbox::new(
            config.outbox.clone(),
            Arc::clone(&dead_letters),
            Arc::clone(&metrics),
            tokio::runtime::Handle::current(),
        );
        let outbox =
            Arc::new(outbox.map_err(|error| system("setting up TLS", std::io::Error::other(error)))?);
        let webhooks = Webhooks::open(&outbox, &store, &sequencer, &config.webhooks)?;
        let consumers = Arc::new(Consumers::new(
            store.clone(),
            Arc::clone(&metrics),
            Arc::clone(&dead_letters),
            Arc::clone(&outbox),
            Arc::clone(&sequencer),
        ));
        consumers.adopt(&plugins.chain().load());
        let failed: Vec<_> =
            plugins.list().into_iter().filter(|info| info.state == PluginState::Failed).collect();
        consumers.let_go(|name| failed.iter().any(|info| info.name == name))?;
        webhooks.run();
        let direct = config.rooms.as_ref().map(|_| Direct::open(&outbox, &store, &accounts)).transpose()?;
        direct.iter().for_each(Direct::run);
        let chain: &Arc<ArcSwap<_>> = plugins.chain();
        let context = ShardContext {
            chain: Arc::clone(chain),
            engine: plugins.engine().clone(),
            fence: Arc::clone(plugins.fence()),
            sequencer: Arc::clone(&sequencer),
            router: Arc::clone(&router),
            consumers: Arc::clone(&consumers),
            durable: Arc::clone(&durable),
            accounts: Arc::clone(&accounts),
            dead_letters: Arc::clone(&dead_letters),
            metrics: Arc::clone(&metrics),
            pass_deadline: config.plugin.pass_deadline,
            pass_messages: config.plugin.pass_messages,
            subscriptions: config.limits.subscriptions_per_session,
        };
        let mut queues = Vec::new();
        let mut threads = Vec::new();
        for number in 0..shards {
            let started = shard::start(number, context.clone());
            let (queue, thread) = started.map_err(|error| system("starting a shard", error))?;
            queues.push(queue);
            threads.push(thread);
        }
        let login = LoginContext {
            chain: Arc::clone(chain),
            engine: plugins.engine().clone(),
            accounts: Arc::clone(&accounts),
            sequencer: Arc::clone(&sequencer),
            metrics: Arc::clone(&metrics),
        };
        let (login, thread) = Login::start(login, config.limits.clone())
            .map_err(|error| system("starting the authenticator", error))?;
        threads.push(thread);
        let traces = Arc::<Traces>::default();
        let ingress = Ingress::new(IngressParts {
            shards: queues,
            login,
            accounts: Arc::clone(&accounts),
            sessions: Arc::new(Sessions::default()),
            router,
            sequencer: Arc::clone(&sequencer),
            store: store.clone(),
            consumers: Arc::clone(&consumers),
            webhooks: webhooks.clone(),
            direct,
            dead_letters: Arc::clone(&dead_letters),
            recorder: Recorder::new(&store, recorded(&config.logs), &metrics),
            chain: Arc::clone(chain),
            durable: Arc::clone(&durable),
            persistent,
            traces: Arc::clone(&traces),
            metrics: Arc::clone(&metrics),
            limits: config.limits.clone(),
        });
        Ok(Self {
            store,
            metrics,
            accounts,
            plugins,
            consumers,
            durable,
            outbox,
            webhooks,
            sequencer,
            dead_letters,
            traces,
            ingress,
            threads,
        })
    }

    /// Begins to be the client of a broker, if that is configured.
    fn bridge(&self, config: &Config, closing: &CancellationToken) -> Result<Option<Bridge>, ServerError> {
        let Some(configured) = &config.bridge.mqtt else { return Ok(None) };
        let space = self.store.storage_space(bridge::SPACE)?;
        let metrics = self.metrics.bridge.clone();
        Ok(Some(Bridge::start(configured, &self.ingress, space, metrics, closing.clone())))
    }

    /// Lets the queues run dry, then flushes. Blocks.
    fn stop(self) -> Result<(), ServerError> {
        self.plugins.stop();
        // The last sender of every queue goes, so the shards finish what was accepted and end.
        self.ingress.shut();
        for thread in self.threads {
            drop(thread.join());
        }
        self.consumers.stop();
        self.durable.stop();
        self.outbox.stop();
        self.sequencer.retained().follow(true);
        Ok(self.store.close()?)
    }
}
