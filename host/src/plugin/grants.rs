//! What a binding grants of what its component asks for.

use super::LoadError;
use super::binding::Spec;
use super::imports::wasi::GRANTABLE;

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
}
