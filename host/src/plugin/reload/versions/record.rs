//! What is remembered of one binding: its versions, which of them serves, and what must not.

use serde::{Deserialize, Serialize};

use super::super::super::binding::Spec;
use super::super::super::component;

/// Versions of a binding that are kept, the one that serves among them.
pub const KEPT: usize = 5;
/// Fewest hexadecimal digits that name a component; what is shorter is the number of a version.
const DIGITS: usize = 6;

/// A component and a binding text that were live together, or are not to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pair {
    /// SHA-256 of the component.
    #[serde(with = "hex")]
    pub digest: [u8; 32],
    /// SHA-256 of the binding file; that of nothing, if there was none.
    #[serde(with = "hex")]
    pub text: [u8; 32],
    /// SHA-256 of the component's signature, if it had one.
    #[serde(default, with = "hex::option")]
    pub seal: Option<[u8; 32]>,
    /// Stem of the binding file, or of the component without one.
    pub stem: String,
    /// What the text says; none if this router does not understand it any more.
    #[serde(skip)]
    pub spec: Option<Spec>,
}

/// A version that was live.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Counted from 1 in the life of the binding.
    pub number: u64,
    /// What it is.
    #[serde(flatten)]
    pub pair: Pair,
    /// When it last went live, Unix microseconds.
    pub since_us: u64,
    /// It was live for its whole error budget's window.
    pub proven: bool,
    /// It was rolled back from: only who names it goes back to it.
    pub left: bool,
}

/// That an older version serves, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Back {
    /// Version that was left, as lists show it.
    pub from: String,
    /// When, Unix microseconds.
    pub time_us: u64,
    /// Why.
    pub reason: String,
}

/// What is remembered of a binding.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// Its kind when it was last live; empty if it never was.
    pub kind: String,
    /// Number of the newest version.
    pub newest: u64,
    /// Number of the version that serves, or served when the router stopped.
    pub live: Option<u64>,
    /// In the order in which they last went live.
    pub kept: Vec<Kept>,
    /// What is not tried again while it lies in the folder.
    pub quarantine: Vec<Pair>,
    /// Set while an older version serves.
    pub back: Option<Back>,
    /// Since when the operator has it switched off, Unix microseconds.
    pub disabled_us: Option<u64>,
}

impl Pair {
    /// Whether it is this component with this binding.
    pub fn is(&self, digest: &[u8; 32], spec: &Spec) -> bool {
        self.digest == *digest && self.spec.as_ref() == Some(spec)
    }

    /// As lists show it.
    pub fn version(&self) -> String {
        component::version(&self.digest)
    }
}

impl Record {
    /// The version that serves, or served when the router stopped.
    pub fn live(&self) -> Option<&Kept> {
        self.live.and_then(|number| self.kept.iter().find(|kept| kept.number == number))
    }

    /// Whether this must not be tried.
    pub fn is_quarantined(&self, digest: &[u8; 32], spec: &Spec) -> bool {
        self.quarantine.iter().any(|pair| pair.is(digest, spec))
    }

    /// Notes another signature of the version that serves. False: it is another version, or has the same one.
    pub fn reseal(&mut self, pair: &Pair) -> bool {
        let live = self.live;
        let Some(kept) = self.kept.iter_mut().find(|kept| Some(kept.number) == live) else { return false };
        let known = &mut kept.pair;
        let same = known.digest == pair.digest && known.spec == pair.spec && self.back.is_none();
        same && std::mem::replace(&mut known.seal, pair.seal) != pair.seal
    }

    /// Something of the folder went live. Nothing changes if it was live already.
    pub fn went_live(&mut self, pair: Pair, kind: &str, now_us: u64) -> bool {
        let same = |kept: &Kept| kept.pair.digest == pair.digest && kept.pair.spec == pair.spec;
        if self.live().is_some_and(same) && self.back.is_none() && self.kind == kind {
            return false;
        }
        self.prove(now_us);
        let known = self.kept.iter().position(same).map(|at| self.kept.remove(at));
        let (number, proven) = match known {
            Some(known) => (known.number, known.proven),
            None => {
                self.newest += 1;
                (self.newest, false)
            }
        };
        self.kept.push(Kept { number, pair, since_us: now_us, proven, left: false });
        (self.kind, self.live) = (kind.to_owned(), Some(number));
        (self.quarantine, self.back) = (Vec::new(), None);
        self.prune();
        true
    }

    /// The version to go back to: the one that served before, or the one that `to` names. `serving`: whether one
    /// serves now; if none does, the last one that did is the first choice, unless it is what fails in the folder.
    pub fn target(
        &self,
        to: Option<&str>,
        serving: bool,
        folder: Option<(&[u8; 32], &Spec)>,
    ) -> Result<&Kept, String> {
        if let Some(to) = to {
            return self.named(to, serving);
        }
        let fails = |kept: &Kept| folder.is_some_and(|(digest, spec)| kept.pair.is(digest, spec));
        if let Some(last) = self.live().filter(|last| !serving && !fails(last)) {
            return Ok(last);
        }
        let live = self.kept.iter().position(|kept| Some(kept.number) == self.live);
        let earlier = self.kept.iter().take(live.unwrap_or(self.kept.len())).rev();
        let mut good = earlier.filter(|kept| !kept.left);
        good.next().ok_or_else(|| format!("there is no earlier version to go back to: {}", self.choice()))
    }

    fn named(&self, to: &str, serving: bool) -> Result<&Kept, String> {
        let named = |kept: &&Kept| match to.len() {
            ..DIGITS => to.parse() == Ok(kept.number),
            _ => hex::text(&kept.pair.digest).starts_with(to),
        };
        let others = self.kept.iter().rev().filter(|kept| !serving || Some(kept.number) != self.live);
        if let Some(kept) = others.clone().find(named) {
            return Ok(kept);
        }
        match self.live().filter(|live| named(live)) {
            Some(_) => Err(format!("version {to} is the one that serves: {}", self.choice())),
            None => Err(format!("no version {to:?} is kept: {}", self.choice())),
        }
    }

    /// The versions that can be asked for.
    fn choice(&self) -> String {
        let others = self.kept.iter().filter(|kept| Some(kept.number) != self.live);
        let others: Vec<_> =
            others.map(|kept| format!("{} ({})", kept.number, kept.pair.version())).collect();
        if others.is_empty() { "none is kept".into() } else { format!("kept are {}", others.join(", ")) }
    }

    /// An older version serves again. `avoided`: what was left, and what lies in the folder.
    pub fn went_back(&mut self, to: u64, avoided: Vec<Pair>, back: Back, now_us: u64) {
        self.prove(now_us);
        let place = self.kept.iter().position(|kept| kept.number == to).unwrap_or(0);
        for (at, kept) in self.kept.iter_mut().enumerate() {
            kept.left = (kept.left || at > place) && kept.number != to;
            if kept.number == to {
                kept.since_us = now_us;
            }
        }
        let left = self.live;
        // What never served for long without being rolled back from is nothing to go back to.
        self.kept.retain(|kept| kept.proven || !kept.left || Some(kept.number) != left);
        self.live = Some(to);
        let Some(target) = self.live().map(|kept| kept.pair.clone()) else { return };
        self.quarantine = Vec::new();
        for pair in avoided {
            let same = |known: &Pair| known.digest == pair.digest && known.spec == pair.spec;
            if !same(&target) && !self.quarantine.iter().any(same) {
                self.quarantine.push(pair);
            }
        }
        self.back = Some(back);
    }

    /// All of its files that are still needed.
    pub fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.kept.iter().map(|kept| &kept.pair).chain(&self.quarantine)
    }

    /// The same, to be completed after reading.
    pub fn pairs_mut(&mut self) -> impl Iterator<Item = &mut Pair> {
        self.kept.iter_mut().map(|kept| &mut kept.pair).chain(&mut self.quarantine)
    }

    /// Notes whether the live version has been so for long enough.
    fn prove(&mut self, now_us: u64) {
        let live = self.live;
        for kept in self.kept.iter_mut().filter(|kept| Some(kept.number) == live) {
            let window = kept.pair.spec.as_ref().map_or(0, |spec| spec.budget.window.as_micros());
            kept.proven |= u128::from(now_us.saturating_sub(kept.since_us)) >= window;
        }
    }

    /// Lets go of what is beyond the bound: first what was rolled back from, then the oldest; never the live
    /// one, nor the newest that has proven itself.
    fn prune(&mut self) {
        while self.kept.len() > KEPT {
            let live = self.live;
            let other = |kept: &Kept| Some(kept.number) != live;
            let proven = self.kept.iter().rposition(|kept| other(kept) && kept.proven && !kept.left);
            let left = self.kept.iter().position(|kept| other(kept) && kept.left);
            let oldest =
                (0..self.kept.len()).find(|at| Some(*at) != proven && self.kept.get(*at).is_some_and(other));
            let Some(at) = left.or(oldest) else { return };
            self.kept.remove(at);
        }
    }
}

/// A SHA-256 as 64 hexadecimal digits.
pub mod hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// The digits.
    pub fn text(digest: &[u8; 32]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn serialize<S: Serializer>(digest: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&text(digest))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        let mut digest = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(D::Error::custom("64 hexadecimal digits are accepted"));
        }
        for (at, byte) in digest.iter_mut().enumerate() {
            let two = text.get(2 * at..2 * at + 2).unwrap_or_default();
            *byte = u8::from_str_radix(two, 16).map_err(D::Error::custom)?;
        }
        Ok(digest)
    }

    /// The same, or nothing.
    pub(super) mod option {
        use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

        #[derive(serde::Serialize, Deserialize)]
        struct Digest(#[serde(with = "super")] [u8; 32]);

        pub fn serialize<S: Serializer>(digest: &Option<[u8; 32]>, to: S) -> Result<S::Ok, S::Error> {
            digest.map(Digest).serialize(to)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<[u8; 32]>, D::Error> {
            Ok(Option::<Digest>::deserialize(from)?.map(|digest| digest.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000;

    fn pair(byte: u8) -> Pair {
        Pair {
            digest: [byte; 32],
            text: [0; 32],
            seal: Some([7; 32]),
            stem: "x".into(),
            spec: Some(Spec::bare("x")),
        }
    }

    fn live(record: &mut Record, bytes: &[u8], now_us: u64) {
        for byte in bytes {
            record.went_live(pair(*byte), "filter", now_us);
        }
    }

    fn numbers(record: &Record) -> Vec<u64> {
        record.kept.iter().map(|kept| kept.number).collect()
    }

    fn back() -> Back {
        Back { from: "x".into(), time_us: 0, reason: String::new() }
    }

    #[test]
    fn what_went_live_again_is_no_new_version() {
        let mut record = Record::default();
        live(&mut record, &[1, 2], 0);
        assert!(!record.went_live(pair(2), "filter", 1));
        live(&mut record, &[1], 0);
        assert_eq!((numbers(&record), record.live, record.newest), (vec![2, 1], Some(1), 2));
    }

    #[test]
    fn the_version_before_serves_again_and_what_was_left_is_avoided() {
        let mut record = Record::default();
        live(&mut record, &[1, 2, 3], 0);
        let target = record.target(None, true, None).unwrap().number;
        assert_eq!(target, 2);
        record.went_back(2, vec![pair(3), pair(3)], back(), 0);
        assert_eq!((numbers(&record), record.live, record.quarantine.len()), (vec![1, 2], Some(2), 1));
        assert!(record.is_quarantined(&[3; 32], &Spec::bare("x")));
        assert!(!record.is_quarantined(&[3; 32], &Spec::bare("y")));
        // Another one from the folder ends the quarantine.
        live(&mut record, &[4], 0);
        assert!(record.quarantine.is_empty() && record.back.is_none());
        assert_eq!((record.live, record.target(None, true, None).unwrap().number), (Some(4), 2));
    }

    #[test]
    fn a_version_that_served_well_can_be_named_after_it_was_left() {
        let mut record = Record::default();
        live(&mut record, &[1, 2], 0);
        record.went_back(1, vec![pair(2)], back(), 10 * MINUTE);
        assert_eq!(numbers(&record), [1, 2], "it was live for its window");
        let said = record.target(None, true, None).unwrap_err();
        assert!(said.contains("no earlier") && said.contains("2 (020202020202)"), "{said}");
        assert_eq!(record.target(Some("2"), true, None).unwrap().number, 2);
        assert_eq!(record.target(Some("020202"), true, None).unwrap().number, 2);
        assert!(record.target(Some("1"), true, None).unwrap_err().contains("the one that serves"));
        assert!(record.target(Some("9"), true, None).unwrap_err().contains("no version \"9\""));
        record.went_back(2, vec![pair(1)], back(), 10 * MINUTE);
        assert_eq!(record.target(None, true, None).unwrap().number, 1, "going forward leaves nothing behind");
    }

    #[test]
    fn with_nothing_live_the_last_one_that_was_comes_first() {
        let mut record = Record::default();
        live(&mut record, &[1, 2], 0);
        let spec = Spec::bare("x");
        assert_eq!(record.target(None, false, Some((&[9; 32], &spec))).unwrap().number, 2);
        assert_eq!(record.target(None, false, Some((&[2; 32], &spec))).unwrap().number, 1);
    }

    #[test]
    fn few_are_kept_and_the_last_that_proved_itself_is_among_them() {
        let mut record = Record::default();
        live(&mut record, &[1, 2], 0);
        live(&mut record, &[3], 10 * MINUTE);
        live(&mut record, &[4, 5, 6, 7, 8], 10 * MINUTE);
        assert_eq!(numbers(&record), [2, 5, 6, 7, 8]);
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let mut record = Record::default();
        live(&mut record, &[1, 200], 0);
        let text = serde_json::to_string(&record).unwrap();
        let read: Record = serde_json::from_str(&text).unwrap();
        assert_eq!((read.kept[1].pair.digest, read.kept[1].pair.seal), ([200; 32], Some([7; 32])));
        assert!(!record.reseal(&pair(200)) && record.reseal(&Pair { seal: None, ..pair(200) }));
        assert!(serde_json::from_str::<Record>(&text.replacen("c8", "zz", 1)).is_err());
    }
}
