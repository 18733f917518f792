//! The committed figures, and what becomes of new ones beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// Parts of its baseline by which the instructions of a stage may differ: another compiler or processor takes some of
/// that, a stage that has become slower by a quarter is beyond it.
const INSTRUCTIONS: f64 = 0.15;
/// The same for ratios of times, which other processors see otherwise, and which a doubling is beyond.
const RATIO: f64 = 0.6;

const INSTRUCTIONS_KEY: &str = "instructions_per_message";
const GUESTS_KEY: &str = "native_turns_per_message";

/// What a message costs, by stage.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Costs {
    /// Instructions, of native stages.
    pub(super) instructions: BTreeMap<String, f64>,
    /// Turns of a native loop, of chains of guests.
    pub(super) guests: BTreeMap<String, f64>,
}

/// What is said of one stage.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    stage: String,
    unit: &'static str,
    before: Option<f64>,
    now: Option<f64>,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    /// Below the tolerance: the baseline should follow.
    Cheaper,
    /// Above the tolerance.
    Dearer,
    /// The baseline does not know it.
    Unknown,
    /// The baseline knows it, and it was not measured.
    Gone,
}

impl Costs {
    /// Reads what [`to_text`](Self::to_text) has written.
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut file: Map<String, Value> = serde_json::from_str(text)?;
        let mut part = |key: &str| file.remove(key).with_context(|| format!("the object `{key}` is missing"));
        let instructions = serde_json::from_value(part(INSTRUCTIONS_KEY)?).context(INSTRUCTIONS_KEY)?;
        let guests = serde_json::from_value(part(GUESTS_KEY)?).context(GUESTS_KEY)?;
        Ok(Self { instructions, guests })
    }

    /// JSON, in order of names, one stage a line.
    pub(super) fn to_text(&self) -> Result<String> {
        let file = json!({ INSTRUCTIONS_KEY: self.instructions, GUESTS_KEY: self.guests });
        Ok(serde_json::to_string_pretty(&file)? + "\n")
    }
}

impl Line {
    fn new(stage: &str, unit: &'static str, before: Option<f64>, now: Option<f64>, tolerance: f64) -> Self {
        let verdict = match (before, now) {
            (None, _) => Verdict::Unknown,
            (_, None) => Verdict::Gone,
            (Some(before), Some(now)) if now > before * (1.0 + tolerance) => Verdict::Dearer,
            (Some(before), Some(now)) if now < before * (1.0 - tolerance) => Verdict::Cheaper,
            _ => Verdict::Same,
        };
        Self { stage: stage.to_owned(), unit, before, now, verdict }
    }

    /// Whether the change that is tested may not stay as it is.
    pub(super) fn fails(&self) -> bool {
        matches!(self.verdict, Verdict::Dearer | Verdict::Unknown | Verdict::Gone)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), |figure| figure.to_string());
        let (before, now) = (shown(self.before), shown(self.now));
        write!(f, "{:<22} baseline {before:>7}, now {now:>7} {}", self.stage, self.unit)?;
        if let (Some(before), Some(now)) = (self.before, self.now) {
            write!(f, ", {:+.1} %", (now / before - 1.0) * 100.0)?;
        }
        f.write_str(match self.verdict {
            Verdict::Same => "",
            Verdict::Cheaper => ": cheaper",
            Verdict::Dearer => ": too dear",
            Verdict::Unknown => ": not in the baseline",
            Verdict::Gone => ": in the baseline, but there is no such stage",
        })
    }
}

/// Every stage of either, native ones first.
pub(super) fn compare(committed: &Costs, now: &Costs) -> Vec<Line> {
    let mut lines = Vec::new();
    let stages: BTreeSet<&String> = committed.instructions.keys().chain(now.instructions.keys()).collect();
    for stage in stages {
        let of = |costs: &Costs| costs.instructions.get(stage).copied();
        lines.push(Line::new(stage, "instructions", of(committed), of(now), INSTRUCTIONS));
    }
    let chains: BTreeSet<&String> = committed.guests.keys().chain(now.guests.keys()).collect();
    for chain in chains {
        let of = |costs: &Costs| costs.guests.get(chain).copied();
        lines.push(Line::new(chain, "native turns", of(committed), of(now), RATIO));
    }
    lines
}

/// All instructions of a profile that callgrind has written.
pub(super) fn total(profile: &str) -> Option<u64> {
    let line = profile.lines().find_map(|line| line.strip_prefix("totals:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(instructions: &[(&str, f64)], guests: &[(&str, f64)]) -> Costs {
        Costs {
            instructions: instructions.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            guests: guests.iter().map(|(name, ratio)| ((*name).to_owned(), *ratio)).collect(),
        }
    }

    fn verdict(before: f64, now: f64) -> Verdict {
        compare(&costs(&[("a", before)], &[]), &costs(&[("a", now)], &[]))[0].verdict
    }

    #[test]
    fn a_quarter_more_fails_and_a_tenth_more_does_not() {
        assert_eq!(verdict(1_000.0, 1_250.0), Verdict::Dearer);
        assert_eq!(verdict(1_000.0, 1_151.0), Verdict::Dearer);
        assert_eq!(verdict(1_000.0, 1_100.0), Verdict::Same);
        assert_eq!(verdict(1_000.0, 900.0), Verdict::Same);
        assert_eq!(verdict(1_000.0, 800.0), Verdict::Cheaper);
    }

    #[test]
    fn a_call_into_a_guest_fails_when_it_takes_twice_as_long() {
        let of = |now| compare(&costs(&[], &[("filter", 2.0)]), &costs(&[], &[("filter", now)]))[0].verdict;
        assert_eq!(of(4.0), Verdict::Dearer);
        assert_eq!(of(3.0), Verdict::Same);
    }

    #[test]
    fn stages_that_only_one_side_knows_fail() {
        let lines = compare(&costs(&[("old", 1.0)], &[]), &costs(&[("new", 1.0)], &[]));
        let verdicts: Vec<_> = lines.iter().map(|line| (line.stage.as_str(), line.verdict)).collect();
        assert_eq!(verdicts, [("new", Verdict::Unknown), ("old", Verdict::Gone)]);
        assert!(lines.iter().all(Line::fails));
    }

    #[test]
    fn only_what_is_dearer_fails_and_the_line_says_all() {
        let before = costs(&[("admit", 1_000.0), ("route", 1_000.0)], &[]);
        let lines = compare(&before, &costs(&[("admit", 1_300.0), ("route", 500.0)], &[]));
        let failed: Vec<_> = lines.iter().filter(|line| line.fails()).map(ToString::to_string).collect();
        let expected = "admit                  baseline    1000, now    1300 instructions, +30.0 %: too dear";
        assert_eq!(failed, [expected]);
        assert!(lines[1].to_string().ends_with("-50.0 %: cheaper"));
    }

    #[test]
    fn the_file_is_sorted_and_read_back() {
        let all = costs(&[("b", 2.0), ("a", 1.0)], &[("filter", 2.5)]);
        let text = all.to_text().unwrap();
        assert!(text.contains("\n    \"a\": 1.0,\n    \"b\": 2.0\n"), "{text}");
        assert_eq!(Costs::read(&text).unwrap(), all);
        assert!(Costs::read("{}").unwrap_err().to_string().contains(INSTRUCTIONS_KEY));
    }

    #[test]
    fn a_profile_says_its_total() {
        assert_eq!(total("events: Ir\nfn=(1) main\n1 5\n\ntotals: 12345\n"), Some(12_345));
        assert_eq!(total("events: Ir\n"), None);
    }
}
