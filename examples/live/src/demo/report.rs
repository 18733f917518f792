//! What came of a demo.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::ledger::Tally;
use super::metrics::Kinds;
use super::observer::Seen;
use super::{DEVICE, SENSOR};

/// Of the sound publishes, so many in a hundred may be turned away: a machine may be busier than the
/// router's limits allow, and then the router says so.
const TURNED_AWAY_PERCENT: u64 = 1;

/// The last line.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Messages that were accepted.
    #[serde(rename = "in")]
    pub accepted: u64,
    /// Messages that were delivered.
    pub delivered: u64,
    /// Malformed publishes that were refused.
    pub refused: u64,
    /// Swaps of a plugin that showed in what was delivered.
    pub swaps: u64,
    /// Accepted and not delivered.
    pub lost: u64,
    /// From device to page, half of all messages within.
    pub p50_us: Option<u64>,
    /// Likewise, 99 of 100.
    pub p99_us: Option<u64>,
    /// Calls of plugins, by kind.
    pub kinds: Kinds,
}

/// Everything on which the verdict rests.
#[derive(Debug)]
pub(super) struct Evidence {
    /// The books.
    pub(super) tally: Tally,
    /// What was seen on the way.
    pub(super) seen: Seen,
    /// Swaps that were made and showed.
    pub(super) swaps: u64,
    /// Commands that the page gave.
    pub(super) commands: u64,
    /// Calls of plugins.
    pub(super) kinds: Kinds,
    /// What the storage plugin has, by topic.
    pub(super) stored: BTreeMap<String, Value>,
}

impl Evidence {
    /// The sums.
    pub(super) fn report(&self) -> Report {
        Report {
            accepted: self.tally.accepted,
            delivered: self.tally.delivered,
            refused: self.tally.refused,
            swaps: self.swaps,
            lost: self.tally.lost,
            p50_us: self.seen.latency.quantile(0.5),
            p99_us: self.seen.latency.quantile(0.99),
            kinds: self.kinds,
        }
    }

    /// What is not as it should be; empty when all is well.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut hold = |sound: bool, fault: String| {
            if !sound {
                faults.push(fault);
            }
        };
        let Self { tally, seen, .. } = self;
        hold(tally.lost == 0, format!("{} messages were accepted and not delivered", tally.lost));
        hold(tally.unanswered == 0, format!("{} messages were never answered", tally.unanswered));
        for sender in [DEVICE, SENSOR] {
            match seen.units.get(sender) {
                None => hold(false, format!("no reading of {sender} was delivered")),
                Some((_, changes)) => hold(
                    *changes == self.swaps,
                    format!(
                        "{} swaps, and the unit of {sender}'s readings changed {changes} times",
                        self.swaps
                    ),
                ),
            }
        }
        hold(
            seen.confirmed == self.commands,
            format!("{} commands, and {} were confirmed", self.commands, seen.confirmed),
        );
        let away: u64 = tally.turned_away.values().sum();
        hold(
            away * 100 <= tally.accepted * TURNED_AWAY_PERCENT,
            format!("{away} publishes were turned away: {}", list(&tally.turned_away)),
        );
        let idle = self.kinds.idle();
        hold(idle.is_empty(), format!("no plugin was called of the kinds {}", idle.join(", ")));
        hold(
            self.stored == seen.latest,
            format!(
                "the storage plugin has not what was delivered last: it has {}, delivered was {}",
                text(&self.stored),
                text(&seen.latest)
            ),
        );
        faults.extend(tally.wrong.iter().map(|(what, often)| format!("{often} times: {what}")));
        faults.extend(seen.wrong.iter().map(|(what, often)| format!("{often} times: {what}")));
        faults
    }

    /// For people.
    pub(super) fn summary(&self) -> Vec<String> {
        let Self { tally, seen, kinds, .. } = self;
        let mut lines = vec![
            String::new(),
            format!(
                "{} messages were accepted, {} delivered, {} lost",
                tally.accepted, tally.delivered, tally.lost
            ),
            format!(
                "{} malformed publishes were refused, {} repeated ones recognised",
                tally.refused, tally.recognised
            ),
            format!(
                "{} swaps of a plugin under traffic, {} commands given, {} obeyed",
                self.swaps, self.commands, seen.confirmed
            ),
            format!(
                "plugin calls: {} auth, {} filter, {} transform, {} storage",
                kinds.auth, kinds.filter, kinds.transform, kinds.storage
            ),
        ];
        if let (Some(p50), Some(p99)) = (seen.latency.quantile(0.5), seen.latency.quantile(0.99)) {
            lines.push(format!("from device to page: half within {p50} µs, 99 of 100 within {p99} µs"));
        }
        if !tally.turned_away.is_empty() {
            lines.push(format!("turned away, and the senders were told: {}", list(&tally.turned_away)));
        }
        lines
    }
}

fn list(counts: &BTreeMap<String, u64>) -> String {
    let all: Vec<String> = counts.iter().map(|(what, often)| format!("{often} {what}")).collect();
    all.join(", ")
}

fn text(values: &BTreeMap<String, Value>) -> String {
    serde_json::to_string(values).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::folder::Unit;

    fn sound() -> Evidence {
        let units = [(DEVICE.to_owned(), (Unit::Mebi, 2)), (SENSOR.to_owned(), (Unit::Mebi, 2))].into();
        let latest: BTreeMap<_, _> = [("page/x".to_owned(), Value::from(1))].into();
        let mut seen = Seen::default();
        (seen.units, seen.latest, seen.confirmed) = (units, latest.clone(), 4);
        Evidence {
            tally: Tally { accepted: 200, delivered: 200, refused: 3, ..Tally::default() },
            seen,
            swaps: 2,
            commands: 4,
            kinds: Kinds { auth: 1, filter: 2, transform: 3, storage: 4 },
            stored: latest,
        }
    }

    #[test]
    fn the_last_line_is_as_it_is_documented() {
        let mut evidence = sound();
        evidence.seen.latency.add(20);
        assert_eq!(
            serde_json::to_string(&evidence.report()).unwrap(),
            r#"{"in":200,"delivered":200,"refused":3,"swaps":2,"lost":0,"p50_us":20,"p99_us":20,"kinds":{"auth":1,"filter":2,"transform":3,"storage":4}}"#
        );
        assert_eq!(evidence.faults(), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_found() {
        type Spoil = fn(&mut Evidence);
        let spoils: [(Spoil, &str); 11] = [
            (|e| e.tally.lost = 1, "1 messages were accepted and not delivered"),
            (|e| e.tally.unanswered = 2, "never answered"),
            (|e| e.tally.wrong.extend([("twice".into(), 3)]), "3 times: twice"),
            (|e| e.seen.wrong.extend([("wrong unit", 1)]), "1 times: wrong unit"),
            (|e| e.tally.turned_away.extend([("overloaded".into(), 3)]), "3 overloaded"),
            (|e| e.seen.units.retain(|sender, _| sender != SENSOR), "no reading of sensor-1"),
            (|e| e.seen.units.extend([(DEVICE.into(), (Unit::Gibi, 1))]), "changed 1 times"),
            (|e| e.swaps = 3, "3 swaps"),
            (|e| e.seen.confirmed = 3, "4 commands, and 3 were confirmed"),
            (|e| e.kinds.storage = 0, "of the kinds storage"),
            (|e| e.stored.clear(), "storage plugin has not"),
        ];
        for (spoil, expected) in spoils {
            let mut evidence = sound();
            spoil(&mut evidence);
            let faults = evidence.faults().join("\n");
            assert!(faults.contains(expected), "{expected}: {faults}");
        }
    }

    #[test]
    fn few_that_were_turned_away_are_told_and_forgiven() {
        let mut evidence = sound();
        evidence.tally.turned_away.insert("timed-out".into(), 2);
        assert!(evidence.faults().is_empty());
        assert!(evidence.summary().join("\n").contains("2 timed-out"));
    }
}
