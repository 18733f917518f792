//! Instances that wait for those that are lost, made by a thread of its own: `init` never runs on a shard.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{Binding, LoadError};

/// Instances that wait, per binding: one for the message that is tried once more, one for the message after it.
pub const SPARES: usize = 2;
/// Bindings that may wait for instances; more are asked for again by the next message that finds none.
const ORDERS: usize = 1_024;
/// As good as for ever: an order ends the waiting, and so does the end of whoever could order.
const IDLE: Duration = Duration::from_secs(3_600);

/// Where bindings order instances. Clones order at the same place; the thread ends with the last of them.
#[derive(Clone)]
pub struct Orders(SyncSender<Weak<Binding>>);

impl Orders {
    /// Starts the thread that makes instances.
    pub fn start() -> Result<Self, LoadError> {
        let (orders, ordered) = sync_channel(ORDERS);
        std::thread::Builder::new()
            .name("plugin-spares".into())
            .spawn(move || run(&ordered))
            .map_err(|error| LoadError::Engine(format!("cannot start the thread of instances: {error}")))?;
        Ok(Self(orders))
    }

    /// Never waits.
    pub(super) fn order(&self, binding: &Arc<Binding>) {
        // A full queue: whoever finds no instance orders again.
        drop(self.0.try_send(Arc::downgrade(binding)));
    }
}

fn run(ordered: &Receiver<Weak<Binding>>) {
    let mut waiting: Vec<(Instant, Weak<Binding>)> = Vec::new();
    loop {
        let now = Instant::now();
        let next = waiting.iter().map(|(due, _)| due.saturating_duration_since(now)).min();
        match ordered.recv_timeout(next.unwrap_or(IDLE)) {
            Ok(binding) if waiting.iter().any(|(_, known)| known.ptr_eq(&binding)) => {}
            Ok(binding) => waiting.push((now, binding)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        waiting = waiting
            .into_iter()
            .filter_map(|(due, binding)| {
                let again = if due <= now { fill(&binding.upgrade()?) } else { Some(due) };
                Some((again?, binding))
            })
            .collect();
    }
}

/// Makes what is missing. Some: not all of it, so come again then.
fn fill(binding: &Arc<Binding>) -> Option<Instant> {
    while binding.spares_missing() {
        if let Err(when) = binding.health.may_renew() {
            return Some(when);
        }
        match binding.make() {
            Ok(instance) => {
                binding.health.renewed(true);
                binding.keep_ready(instance);
            }
            Err(error) => {
                let pause = binding.health.renewed(false);
                let (plugin, version) = (binding.name(), &binding.shared.version);
                tracing::error!(%plugin, %version, %error, pause_s = pause.as_secs(), "no new instance");
                return Some(Instant::now() + pause);
            }
        }
    }
    None
}
