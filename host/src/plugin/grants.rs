//! What a binding grants of what its component asks for, and what it does without a grant.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::LoadError;
use super::binding::Spec;
use super::imports::logging::cut;
use super::imports::wasi::GRANTABLE;
use crate::metrics::{Granted, PluginUse};

/// The log is told this often of one kind of grant that is missing.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Longest topic, destination or realm that is shown, in bytes.
const SUBJECT_BYTES: usize = 200;

/// Refuses imports that are not granted, all of them named at once, with the line that would grant them. Those that
/// are only counted are the answer.
pub fn check<'i>(spec: &Spec, extra: &'i [String]) -> Result<Vec<&'i str>, LoadError> {
    let granted = |name: &str| spec.imports.iter().any(|granted| granted == bare(name));
    let missing: Vec<_> = extra.iter().map(String::as_str).filter(|name| !granted(name)).collect();
    if missing.is_empty() || spec.count_only {
        return Ok(missing);
    }
    Err(LoadError::Imports { remedy: remedy(spec, &missing), imports: missing.join(", ") })
}

/// An interface's name without its version.
pub fn bare(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}

fn remedy(spec: &Spec, missing: &[&str]) -> String {
    let grantable: Vec<_> = missing.iter().map(|name| bare(name)).filter(|n| GRANTABLE.contains(n)).collect();
    if grantable.len() == missing.len() {
        let line: Vec<_> = spec.imports.iter().map(String::as_str).chain(grantable).collect();
        return format!("imports = {line:?} in the binding of {} would grant it", spec.name);
    }
    let http = missing.iter().any(|name| name.starts_with("wasi:http") || name.starts_with("wasi:sockets"));
    let instead = if http {
        "; a storage plugin reaches others by returning posts, which post = [\"https://…\"] grants"
    } else {
        ""
    };
    let accepted = GRANTABLE.join(", ");
    format!("no line of a binding grants it (imports = [...] takes {accepted}){instead}")
}

/// What the instances of a binding do, or want to do, without a grant.
#[derive(Debug, Default)]
pub struct Ungranted {
    plugin: Arc<str>,
    count_only: bool,
    used: Arc<PluginUse>,
    missing: Mutex<Vec<Missing>>,
}

/// One kind of grant that was missing.
#[derive(Debug)]
struct Missing {
    what: Granted,
    times: u64,
    /// The last topic, destination, realm or interface.
    subject: String,
    told: Instant,
}

impl Ungranted {
    /// Nothing yet.
    pub fn new(spec: &Spec, used: Arc<PluginUse>) -> Self {
        let plugin = spec.name.as_str().into();
        Self { plugin, count_only: spec.count_only, used, missing: Mutex::default() }
    }

    /// Counts something that is not granted. True: let it through all the same.
    pub fn lets_pass(&self, what: Granted, subject: &str) -> bool {
        let total = self.used.ungranted(what, self.count_only);
        let subject = cut(subject, SUBJECT_BYTES);
        let now = Instant::now();
        let mut missing = self.missing.lock();
        let tell = match missing.iter_mut().find(|missing| missing.what == what) {
            Some(known) => {
                known.times += 1;
                subject.clone_into(&mut known.subject);
                let tell = now.duration_since(known.told) >= TOLD_EVERY;
                if tell {
                    known.told = now;
                }
                tell
            }
            None => {
                missing.push(Missing { what, times: 1, subject: subject.to_owned(), told: now });
                true
            }
        };
        drop(missing);
        if tell {
            let (plugin, grant, passed) = (&self.plugin, what.as_str(), self.count_only);
            tracing::warn!(%plugin, grant, subject, total, passed, "plugin has no grant for it");
        }
        self.count_only
    }

    /// What was missing, one line for each kind of grant.
    pub fn notes(&self) -> Vec<String> {
        let done = if self.count_only { "let through (count-only)" } else { "refused" };
        let line = |missing: &Missing| {
            let Missing { what, times, subject, .. } = missing;
            let end = if *what == Granted::Post { "/" } else { "" };
            let key = what.as_str();
            let subject = bare(subject);
            format!(
                "{times} times without a grant, {done}: {key} = [\"{subject}{end}\"] would grant the last"
            )
        };
        self.missing.lock().iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(spec: &Spec, extra: &[&str]) -> String {
        let extra: Vec<_> = extra.iter().map(|name| (*name).to_owned()).collect();
        check(spec, &extra).unwrap_err().to_string()
    }

    #[test]
    fn the_refusal_names_the_import_and_the_line_that_would_grant_it() {
        let spec = Spec::bare("lots");
        let said = refused(&spec, &["wasi:random/random@0.2.6"]);
        assert!(said.contains("wasi:random/random@0.2.6"), "{said}");
        assert!(said.contains("imports = [\"wasi:random/random\"] in the binding of lots"), "{said}");
        let said = refused(&spec, &["wasi:sockets/tcp@0.2.6"]);
        assert!(said.contains("no line") && said.contains("post = "), "{said}");
    }

    #[test]
    fn what_is_granted_passes_and_what_is_counted_is_named() {
        let extra = ["wasi:random/random@0.2.6".to_owned()];
        let granted = Spec { imports: vec!["wasi:random/random".into()], ..Spec::bare("a") };
        assert!(check(&granted, &extra).unwrap().is_empty());
        let counted = Spec { count_only: true, ..Spec::bare("a") };
        assert_eq!(check(&counted, &extra).unwrap(), ["wasi:random/random@0.2.6"]);
    }

    #[test]
    fn what_is_missing_is_counted_and_let_through_only_where_it_is_only_counted() {
        for count_only in [false, true] {
            let ungranted = Ungranted::new(&Spec { count_only, ..Spec::bare("a") }, Arc::default());
            assert_eq!(ungranted.lets_pass(Granted::Emit, "b/1"), count_only);
            assert_eq!(ungranted.lets_pass(Granted::Emit, "b/2"), count_only);
            assert_eq!(ungranted.lets_pass(Granted::Post, "https://c:443"), count_only);
            let notes = ungranted.notes();
            assert!(notes[0].starts_with("2 times") && notes[0].contains("emit = [\"b/2\"]"), "{notes:?}");
            assert!(notes[1].contains("post = [\"https://c:443/\"]"), "{notes:?}");
            assert_eq!(notes[0].contains("let through"), count_only);
        }
    }
}
