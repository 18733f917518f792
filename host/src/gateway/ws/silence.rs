//! A peer that vanished without a word leaves a socket that looks idle for ever: who is silent is pinged (RFC 6455
//! section 5.5.2), and who stays silent is gone.

use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::control::Control;
use super::frame;
use super::reader::{End, Incoming, Reader};

/// Close code of who does not answer a ping: what other servers use.
const NO_PONG: u16 = 1011;

/// One timer for the life of a connection: a message costs nothing here.
pub(super) struct Silence {
    /// None: the peer may be silent for ever.
    ticks: Option<Interval>,
    limit: Duration,
    /// Nothing came since the ping.
    pinged: bool,
}

impl Silence {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        let ticks = limit.map(|limit| {
            let mut ticks = tokio::time::interval_at(Instant::now() + limit, limit);
            // While we were not reading, nobody could be heard: then the next look is a whole span away.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Self { ticks, limit: limit.unwrap_or_default(), pinged: false }
    }

    /// The peer's next message.
    pub(super) async fn next<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut Reader<R>,
        control: &Control,
    ) -> Result<Incoming, End> {
        let Some(ticks) = &mut self.ticks else { return reader.next(control).await };
        loop {
            tokio::select! {
                biased;
                next = reader.next(control) => return next,
                _ = ticks.tick() => {}
            }
            if reader.heard() {
                self.pinged = false;
            } else if self.pinged {
                return Err(End::Failed(NO_PONG, format!("no answer to a ping within {:?}", self.limit)));
            } else {
                self.pinged = true;
                control.push(&frame::ping());
            }
        }
    }
}
