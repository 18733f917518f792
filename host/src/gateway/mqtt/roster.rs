//! Which connection has which client identifier. One that comes takes the place of the one before (MQTT 3.1.4), of the
//! same principal: nobody can push out another principal's client.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::message::Principal;

/// Who a client is: tenant, principal, client identifier.
type Name = (Arc<str>, Arc<str>, Arc<str>);

#[derive(Default)]
pub(super) struct Roster(Arc<Mutex<HashMap<Name, Chair>>>);

#[derive(Clone)]
struct Chair {
    /// Whoever sits there has to go.
    leave: CancellationToken,
    /// It has gone.
    gone: CancellationToken,
}

/// A place in the roster, given up when dropped.
pub(super) struct Seat {
    roster: Arc<Mutex<HashMap<Name, Chair>>>,
    name: Name,
    chair: Chair,
}

impl Roster {
    /// How many clients are connected.
    pub(super) fn count(&self) -> usize {
        self.0.lock().len()
    }

    /// Takes the place of this client, once whoever had it has gone.
    pub(super) async fn take(&self, principal: &Principal, client: &str) -> Seat {
        let name = (Arc::clone(&principal.tenant), Arc::clone(&principal.name), Arc::from(client));
        loop {
            let before = {
                let mut all = self.0.lock();
                match all.get(&name) {
                    Some(chair) => chair.clone(),
                    None => {
                        let chair = Chair { leave: CancellationToken::new(), gone: CancellationToken::new() };
                        all.insert(name.clone(), chair.clone());
                        return Seat { roster: Arc::clone(&self.0), name, chair };
                    }
                }
            };
            before.leave.cancel();
            before.gone.cancelled().await;
        }
    }
}

impl Seat {
    /// Waits until another connection wants this place.
    pub(super) async fn wanted(&self) {
        self.chair.leave.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.roster.lock().remove(&self.name);
        self.chair.gone.cancel();
    }
}
