//! Plugins tested natively, with plain `cargo test`: no wasm, no router.
//!
//! [`Host`] keeps the rules of the real one that a plugin can run into: limits of what it returns, where `state`
//! can only be read, who owns which metadata, that a call's writes are gone when it fails, that a pass is
//! run again when another shard got in between, and that empty metadata inherits. It keeps no deadlines, and a
//! panic is a panic, so that the test shows it.
//!
//! ```
//! use weir_plugin::{Filter, Message, Result, Verdict, testing};
//!
//! #[derive(Default)]
//! struct SensorsOnly;
//!
//! impl Filter for SensorsOnly {
//!     fn check(&self, message: &Message) -> Result<Verdict> {
//!         Ok(Verdict::keep_if(message.origin().is_sensor()))
//!     }
//! }
//!
//! let mut host = testing::Host::<SensorsOnly>::new(serde_json::json!({})).unwrap();
//! let message = testing::message("a/b", "21.5").from("page", "p1").build();
//! assert_eq!(host.check(&message), Ok(Verdict::Drop(String::new())));
//! ```

mod build;
pub(crate) mod fake;
mod kinds;
mod rules;
mod storage;

pub use build::{Build, message, message_json};
pub use rules::Stopped;

use crate::{Account, ConfigError, Context, Error, Level, Pattern, Plugin, Post, Time};
use fake::{Fake, Phase};
use std::cell::RefCell;
use std::rc::Rc;
use weir_contract::packed::{self, tag};

/// One plugin in one binding, as the router would run it. Several may live in one test; each has its own
/// state.
pub struct Host<P: Plugin> {
    fake: Rc<RefCell<Fake>>,
    config: String,
    plugin: P,
    emit: Vec<Pattern>,
    publish: Vec<Pattern>,
    read_secret: bool,
    conflict: Option<(Vec<u8>, Vec<u8>)>,
    next_offset: u64,
    posts: Vec<Post>,
}

impl<P: Plugin> Host<P> {
    /// Loads the plugin with this `[config]`. What the plugin does not accept comes as the deployer would
    /// see it.
    pub fn new(config: serde_json::Value) -> Result<Self, ConfigError> {
        let fake = Rc::new(RefCell::new(Fake::default()));
        let config = config.to_string();
        let plugin = load(&fake, &config)?;
        Ok(Self {
            fake,
            config,
            plugin,
            emit: Vec::new(),
            publish: Vec::new(),
            read_secret: false,
            conflict: None,
            next_offset: 0,
            posts: Vec::new(),
        })
    }

    /// Grants the binding to emit to a pattern, as `emit = ["…"]` does.
    ///
    /// # Panics
    /// If it is no pattern.
    #[must_use]
    pub fn grant_emit(mut self, pattern: &str) -> Self {
        self.emit.push(checked(pattern));
        self
    }

    /// Lets the publishers of the test publish to a pattern. Without it, they may publish to the topic of each
    /// message that the test builds, and to no other.
    ///
    /// # Panics
    /// If it is no pattern.
    #[must_use]
    pub fn may_publish(mut self, pattern: &str) -> Self {
        self.publish.push(checked(pattern));
        self
    }

    /// Lets an auth plugin see secrets, as `read-secret = true` does.
    #[must_use]
    pub fn grant_read_secret(mut self) -> Self {
        self.read_secret = true;
        self
    }

    /// Adds an account, and grants its realm.
    #[must_use]
    pub fn with_account(self, account: Account) -> Self {
        self.fake.borrow_mut().accounts.push(account);
        self
    }

    /// Puts a pair into the state.
    #[must_use]
    pub fn with_state(self, key: &[u8], value: &[u8]) -> Self {
        self.fake.borrow_mut().overwrite(key, value);
        self
    }

    /// Sets the quota of the state, in bytes of keys and values, as `[limits] state_bytes` does; 64 MiB without it.
    #[must_use]
    pub fn state_quota(self, bytes: usize) -> Self {
        self.fake.borrow_mut().quota = bytes;
        self
    }

    /// Keeps log lines of this level and above; `Info` without it.
    #[must_use]
    pub fn log_level(self, level: Level) -> Self {
        self.fake.borrow_mut().level = level;
        self
    }

    /// What is committed under a key.
    pub fn state(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.fake.borrow().committed(key.as_ref())
    }

    /// How many pairs are committed and not expired.
    pub fn state_len(&self) -> usize {
        self.fake.borrow().live()
    }

    /// Bytes of all committed keys and values.
    pub fn state_bytes(&self) -> usize {
        self.fake.borrow().committed_bytes()
    }

    /// All log lines so far: `text name=value name=value`.
    pub fn logs(&self) -> Vec<(Level, String)> {
        self.fake.borrow().logs.clone()
    }

    /// What a storage plugin put into the outbox.
    pub fn posts(&self) -> &[Post] {
        &self.posts
    }

    /// Moves the clock, by which state expires. Each message moves it to its own time, too, never back.
    pub fn now(&mut self, time: Time) {
        self.fake.borrow_mut().advance(time);
    }

    /// Drops the instance and makes a new one, as the router may do between any two calls: what the plugin
    /// still knows afterwards stands in `state`.
    ///
    /// # Panics
    /// If the plugin does not accept the configuration any more.
    pub fn restart(&mut self) {
        match load(&self.fake, &self.config) {
            Ok(plugin) => self.plugin = plugin,
            Err(error) => fail(&format!("the plugin did not start again: {error}")),
        }
    }

    /// Lets another shard write a pair in the middle of the next call. If the call read the key, it is
    /// discarded and run again, as the router does.
    pub fn conflict_once(&mut self, key: &[u8], value: &[u8]) {
        self.conflict = Some((key.to_vec(), value.to_vec()));
    }

    /// One transaction. `keep` decides whether the call's writes stay. An error is a trap.
    fn pass<R>(
        &mut self,
        phase: Phase,
        now: Time,
        call: impl Fn(&P) -> R,
        keep: impl Fn(&R) -> bool,
    ) -> Result<R, Error> {
        loop {
            self.fake.borrow_mut().begin(phase, now);
            let result = fake::with(&self.fake, || call(&self.plugin));
            let mut fake = self.fake.borrow_mut();
            if let Some(trap) = fake.trap.take() {
                drop(fake);
                self.restart();
                return Err(Error::Internal(format!("trap: {trap}")));
            }
            if let Some((key, value)) = self.conflict.take() {
                let again = fake.has_read(&key);
                fake.overwrite(&key, &value);
                if again {
                    continue;
                }
            }
            if keep(&result) {
                fake.commit();
            }
            return Ok(result);
        }
    }
}

impl<P: Plugin> std::fmt::Debug for Host<P> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Host").field("config", &self.config).finish_non_exhaustive()
    }
}

fn load<P: Plugin>(fake: &Rc<RefCell<Fake>>, config: &str) -> Result<P, ConfigError> {
    let mut blob = Vec::new();
    packed::put_text(&mut blob, tag::PLUGIN, "test");
    packed::put_text(&mut blob, tag::BINDING, "test");
    packed::put(&mut blob, tag::DIGEST, &[0; 32]);
    packed::put_text(&mut blob, tag::HOST_VERSION, env!("CARGO_PKG_VERSION"));
    packed::put_u64(&mut blob, tag::RUN, 1);
    packed::put_flag(&mut blob, tag::TRIAL, false);
    fake.borrow_mut().begin(Phase::ReadOnly, Time::default());
    fake::with(fake, || crate::plugin::from_json(config, &Context::from_packed(blob)))
}

fn checked(pattern: &str) -> Pattern {
    match Pattern::parse(pattern) {
        Ok(pattern) => pattern,
        Err(error) => fail(&error.reason),
    }
}

/// A mistake in the test itself.
#[track_caller]
#[expect(clippy::panic, reason = "a test that is written wrongly must fail where it stands")]
fn fail(what: &str) -> ! {
    panic!("{what}")
}
