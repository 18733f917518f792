//! `$SYS/broker/…`: what the router says of itself to MQTT clients, in mosquitto's words.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use weir_contract::topic::Pattern;

use super::talk::Talk;
use super::{GATEWAY, Inner};

/// What all of its topics begin with.
const ROOT: &str = "$SYS/broker";
/// The first level of those patterns that match any.
const LEVEL: &str = "$SYS/";
/// Spans over which loads are means, in minutes.
const SPANS: [u8; 3] = [1, 5, 15];

/// What is counted for it.
pub(super) struct Sys {
    started: Instant,
    /// Subscriptions of clients that are connected.
    pub(super) subscriptions: AtomicI64,
    loads: Mutex<Loads>,
}

/// Bytes received and sent per minute, over the spans.
#[derive(Default)]
struct Loads {
    seen: [u64; 2],
    at: Option<Instant>,
    means: [[f64; SPANS.len()]; 2],
}

impl Default for Sys {
    fn default() -> Self {
        Self { started: Instant::now(), subscriptions: AtomicI64::new(0), loads: Mutex::default() }
    }
}

impl Loads {
    /// Takes note of how many bytes there were until now.
    fn note(&mut self, seen: [u64; 2], now: Instant) {
        let before = self.at.replace(now);
        let minutes = before.map_or(0.0, |before| now.duration_since(before).as_secs_f64() / 60.0);
        for ((seen, before), means) in seen.into_iter().zip(self.seen).zip(&mut self.means) {
            if minutes > 0.0 {
                let load = seen.saturating_sub(before) as f64 / minutes;
                for (mean, span) in means.iter_mut().zip(SPANS) {
                    *mean += (load - *mean) * (1.0 - (-minutes / f64::from(span)).exp());
                }
            }
        }
        self.seen = seen;
    }
}

impl Inner {
    /// Tells those who have subscribed, for ever.
    pub(super) async fn report(&self) {
        let every = self.config.sys_interval;
        if every.is_zero() {
            return std::future::pending().await;
        }
        self.note_loads();
        loop {
            tokio::time::sleep(every).await;
            self.note_loads();
            for (topic, said) in self.facts() {
                self.ingress.announce(&topic, said);
            }
        }
    }

    fn note_loads(&self) {
        let metrics = self.ingress.gateway(GATEWAY);
        let seen = [metrics.bytes_in.get(), metrics.bytes_out.get()];
        self.sys.loads.lock().note(seen, Instant::now());
    }

    /// All topics, with what is said there now.
    fn facts(&self) -> Vec<(String, String)> {
        let metrics = self.ingress.gateway(GATEWAY);
        let (away, kept) = self.ingress.persistent().away();
        let connected = self.roster.count();
        let subscriptions = usize::try_from(self.sys.subscriptions.load(Ordering::Relaxed)).unwrap_or(0);
        let fact = |topic: &str, said: String| (format!("{ROOT}/{topic}"), said);
        let mut all = vec![
            fact("version", format!("weir {}", env!("CARGO_PKG_VERSION"))),
            fact("uptime", format!("{} seconds", self.sys.started.elapsed().as_secs())),
            fact("clients/connected", connected.to_string()),
            fact("clients/disconnected", away.to_string()),
            fact("clients/total", (connected + away).to_string()),
            fact("messages/received", metrics.published().to_string()),
            fact("messages/sent", metrics.messages_out.get().to_string()),
            fact("bytes/received", metrics.bytes_in.get().to_string()),
            fact("bytes/sent", metrics.bytes_out.get().to_string()),
            fact("subscriptions/count", (subscriptions + kept).to_string()),
            fact("retained messages/count", self.ingress.retained_count().to_string()),
        ];
        let loads = self.sys.loads.lock();
        for (what, means) in ["received", "sent"].into_iter().zip(loads.means) {
            for (mean, span) in means.into_iter().zip(SPANS) {
                all.push(fact(&format!("load/bytes/{what}/{span}min"), format!("{mean:.2}")));
            }
        }
        all
    }
}

impl Talk {
    /// What a new subscription to such topics begins with.
    pub(super) fn show_sys(&self, pattern: &Pattern) {
        if !pattern.as_str().starts_with(LEVEL) || self.app.config.sys_interval == Duration::ZERO {
            return;
        }
        let matching = self.app.facts().into_iter().filter(|(topic, _)| pattern.matches(topic));
        for (topic, said) in matching {
            self.visit.ingress().announce_to(self.visit.session(), &topic, said);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_follow_what_is_received_the_slower_the_longer_their_span() {
        let (mut loads, begin) = (Loads::default(), Instant::now());
        loads.note([1_000, 0], begin);
        assert_eq!(loads.means, [[0.0; 3]; 2], "what was before is no load");
        for second in 1..=60 {
            loads.note([1_000 + second * 10, 0], begin + Duration::from_secs(second));
        }
        let [[one, five, fifteen], sent] = loads.means;
        assert!((379.0..380.0).contains(&one) && (108.0..110.0).contains(&five), "{one} {five}");
        assert!((38.0..39.0).contains(&fifteen) && sent == [0.0; 3], "{fifteen}");
    }
}
