//! What the operator does to a binding, and what its error budget does.

use super::super::binding::Secrets;
use super::super::component;
use super::loader::Loader;
use super::status::time;
use super::versions::{Back, Event, HistoryLine, Kept, Pair, Record};
use crate::message::now_us;
use crate::plugin::{Deed, Kind, Refused};

/// Who brings an older version back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Operator,
    Budget,
}

impl By {
    fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Budget => "budget",
        }
    }
}

impl Loader {
    /// Does it; live after the next [`reload`](Self::reload). Ok says what was done. Err: nothing has changed.
    pub fn act(&mut self, name: &str, deed: &Deed) -> Result<String, Refused> {
        let known = self.known();
        if self.shadows.is_one(name) {
            let why = format!("{name} is a shadow, which has no versions: its binding file ends it");
            return Err(Refused::Impossible(why));
        }
        if !known.iter().any(|known| known == name) {
            return Err(Refused::Unknown { name: name.to_owned(), known });
        }
        let done = match deed {
            Deed::Rollback(to) => self.roll_back(name, to.as_deref(), By::Operator, "by hand"),
            Deed::Disable => self.disable(name),
            Deed::Enable => self.enable(name),
            Deed::Forget => self.forget(name),
        };
        done.map_err(Refused::Impossible)
    }

    /// What happened to a binding, oldest first.
    pub fn history(&self, name: &str) -> Result<Vec<HistoryLine>, Refused> {
        let known = self.known();
        match known.iter().any(|known| known == name) {
            true => Ok(self.versions.lines(name)),
            false => Err(Refused::Unknown { name: name.to_owned(), known }),
        }
    }

    /// The names of all bindings: live, asked for, failed, or remembered.
    fn known(&self) -> Vec<String> {
        let names = self.live.keys().chain(self.asked.keys()).chain(self.failed.keys());
        let remembered = self.versions.all().map(|(name, _)| name).chain(self.versions.history.names());
        let mut all: Vec<_> = names.chain(remembered).chain(self.ledger.names()).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// Live bindings that have failed too often go back to the version before, if there is one.
    pub(super) fn react_to_budgets(&mut self) {
        let said =
            self.live.iter().filter_map(|(name, live)| Some((name.clone(), live.binding.report.take()?)));
        for (name, why) in said.collect::<Vec<_>>() {
            if let Err(stays) = self.roll_back(&name, None, By::Budget, &why) {
                self.note_over_budget(&name, &why, &stays);
            }
        }
    }

    /// It goes on serving under its failure policy, since there is nothing better.
    fn note_over_budget(&mut self, name: &str, why: &str, stays: &str) {
        tracing::error!(plugin = name, reason = why, stays, "plugin over its error budget: it goes on");
        let Some(live) = self.live.get_mut(name) else { return };
        let note = format!("over its error budget ({why}) and not rolled back: {stays}");
        let line = HistoryLine::new(Event::OverBudget, &live.binding.shared.version).because(&note);
        live.note = Some(note);
        self.versions.history.add(name, line);
    }

    fn roll_back(&mut self, name: &str, to: Option<&str>, by: By, why: &str) -> Result<String, String> {
        let record = self.versions.get(name).cloned().unwrap_or_default();
        if record.disabled_us.is_some() {
            return Err(format!("{name} is disabled: `weir plugin enable {name}` comes first"));
        }
        let target = self.target(name, to, &record)?.clone();
        let version = target.pair.version();
        let failed = |why: String| format!("version {version} of {name} cannot serve again: {why}");
        let wanted = self.versions.wanted(&target).map_err(|error| failed(error.to_string()))?;
        let secrets = Secrets::read(&wanted.spec).map_err(|error| failed(error.to_string()))?;
        let folder = self.in_folder(name);
        let left = self.live.get(name).map(|live| live.binding.shared.version.to_string());
        let from = left.or_else(|| folder.as_ref().map(Pair::version)).unwrap_or_default();
        let avoided = folder.into_iter().chain(record.live().map(|live| live.pair.clone())).collect();
        let (now, reason) = (now_us(), why.to_owned());
        let mut after = record;
        after.went_back(target.number, avoided, Back { from: from.clone(), time_us: now, reason }, now);
        let draft = self.draft(&wanted, secrets, true);
        let draft = draft.map_err(|error| failed(format!("{}: {error}", error.stage())))?;
        let restored = match draft.leaves {
            Some(_) => "; its state is that of before the migration: what was written since is lost",
            None => "",
        };
        let quarantined = after.quarantine.iter().map(Pair::version).collect();
        match by {
            By::Operator => self.versions.save(name, after)?,
            // What fails too often goes, whether that can be remembered or not.
            By::Budget => self.versions.save_or_tell(name, after),
        }
        self.put_live(name, draft.live(&wanted, target.pair.digest));
        self.note_back(name, &target, &from, by, &format!("{why}{restored}"), quarantined);
        Ok(format!(
            "version {version} (number {}) serves again in place of {from}, with the binding that it had{restored}",
            target.number
        ))
    }

    fn target<'r>(&self, name: &str, to: Option<&str>, record: &'r Record) -> Result<&'r Kept, String> {
        let Some(asked) = self.asked.get(name) else {
            return Err(format!("the folder does not ask for {name}: put a file of its name there first"));
        };
        let folder = asked.file.as_ref().ok().map(|file| (&file.digest, &asked.spec));
        record.target(to, self.live.contains_key(name), folder)
    }

    /// What lies there, whatever serves. Its text is kept, so that it is known again after a restart.
    fn in_folder(&self, name: &str) -> Option<Pair> {
        let asked = self.asked.get(name)?;
        let file = asked.file.as_ref().ok()?;
        let pair = Pair::of(asked, file.digest);
        if let Err(error) = self.versions.keep(&pair, asked) {
            tracing::error!(plugin = name, error, "the quarantine of a version may not outlive a restart");
        }
        Some(pair)
    }

    fn note_back(&mut self, name: &str, to: &Kept, from: &str, by: By, why: &str, quarantined: Vec<String>) {
        let by = by.as_str();
        self.options.metrics.rollback(name, by).inc();
        tracing::error!(plugin = name, from, to = to.pair.version(), by, reason = why, "plugin rolled back");
        let line = HistoryLine::new(Event::RolledBack, &to.pair.version());
        let line = line.because(&format!("from {from}: {why}"));
        let line = HistoryLine { number: Some(to.number), by: Some(by.to_owned()), ..line };
        self.versions.history.add(name, line);
        for version in quarantined {
            let line = HistoryLine::new(Event::Quarantined, &version);
            self.versions.history.add(name, line.because("until it changes in the folder"));
        }
    }

    fn disable(&mut self, name: &str) -> Result<String, String> {
        let mut record = self.versions.get(name).cloned().unwrap_or_default();
        if let Some(since) = record.disabled_us {
            return Err(format!("{name} is disabled since {}", time(since)));
        }
        record.disabled_us = Some(now_us());
        let version = self.live.get(name).map(|live| live.binding.shared.version.to_string());
        let closed = self.live.get(name).is_some_and(|live| live.binding.kind() == Kind::Auth);
        self.versions.save(name, record)?;
        let line = HistoryLine::new(Event::Disabled, &version.unwrap_or_default());
        self.versions.history.add(name, line);
        Ok(match closed {
            true => format!("{name} is disabled: everybody who comes to its place is refused"),
            false => format!("{name} is disabled"),
        })
    }

    fn enable(&mut self, name: &str) -> Result<String, String> {
        let mut record = self.versions.get(name).cloned().unwrap_or_default();
        if record.disabled_us.take().is_none() {
            return Err(format!("{name} is not disabled"));
        }
        // A record that says nothing more need not be kept, but it does no harm.
        self.versions.save(name, record)?;
        self.versions.history.add(name, HistoryLine::new(Event::Enabled, ""));
        Ok(format!("{name} is enabled"))
    }

    /// Live: lifts the quarantine. Not live: forgets it, and lets go of the place that an auth plugin keeps closed.
    fn forget(&mut self, name: &str) -> Result<String, String> {
        if self.versions.disabled_us(name).is_some() && self.asked.contains_key(name) {
            return Err(format!("{name} is disabled: enable it, or remove its file from the plugins folder"));
        }
        if let Some(live) = self.live.get_mut(name) {
            let mut record = self.versions.get(name).cloned().unwrap_or_default();
            if record.quarantine.is_empty() {
                let remove = "remove its file from the plugins folder first";
                return Err(format!("{name} is live and nothing of it is quarantined: {remove}"));
            }
            live.note = None;
            record.quarantine.clear();
            record.back = None;
            let version = self.asked.get(name).and_then(|asked| asked.file.as_ref().ok());
            let version = version.map(|file| component::version(&file.digest)).unwrap_or_default();
            self.versions.save(name, record)?;
            self.versions.history.add(name, HistoryLine::new(Event::Forgotten, &version));
            return Ok(format!("{name} is no longer quarantined: what lies in the folder is tried again"));
        }
        let closed = self.ledger.forget(name, Some(Kind::Auth))?;
        self.versions.forget(name)?;
        self.failed.remove(name);
        Ok(match closed {
            true => format!("{name} is forgotten: it refuses nobody any more"),
            false => format!("{name} is forgotten, with its versions and its history"),
        })
    }
}
