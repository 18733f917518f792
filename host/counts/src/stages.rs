//! The native stages, in the order in which a message meets them.

mod gateway;
mod ingress;
mod queue;
mod routing;

use crate::counter;

/// Messages of one round.
pub const ROUND: usize = 64;
/// Rounds before anything is counted, and rounds that are. After 17 of them the log's queue has places for 2,048
/// messages, which the others do not fill: whether and how memory grows would depend on what lies beside it.
const WARM_UP: usize = 17;
const COUNTED: usize = 14;

/// A stage that runs no guest code.
pub struct Stage {
    /// Names its line of the baseline.
    pub name: &'static str,
    /// Prepares it. The answer takes [`ROUND`] messages through the stage, inside [`counter::counted`].
    begin: fn() -> Box<dyn FnMut()>,
}

/// All of them.
pub const ALL: [Stage; 13] = [
    Stage { name: "read-publish", begin: gateway::read_publish },
    Stage { name: "admit", begin: ingress::admit },
    Stage { name: "pass-without-plugins", begin: ingress::pass },
    Stage { name: "log-queue", begin: routing::log_queue },
    Stage { name: "accept-1-reader", begin: || routing::accept_together(1) },
    Stage { name: "accept-100-readers", begin: || routing::accept_together(100) },
    Stage { name: "accept-alone", begin: routing::accept_alone },
    Stage { name: "match-10000-patterns", begin: routing::matching },
    Stage { name: "queue-run", begin: queue::run },
    Stage { name: "queue-alone", begin: queue::alone },
    Stage { name: "write-deliveries", begin: gateway::write_deliveries },
    Stage { name: "write-delivery-alone", begin: gateway::write_delivery },
    Stage { name: "write-mqtt-delivery", begin: gateway::write_mqtt_delivery },
];

impl Stage {
    /// Runs it, and returns the number of messages that were counted.
    pub fn run(&self) -> usize {
        let mut round = (self.begin)();
        (0..WARM_UP).for_each(|_| round());
        counter::warm();
        (0..COUNTED).for_each(|_| round());
        COUNTED * ROUND
    }
}
