use crate::{Account, Action, Error, Pattern, Result};

/// To which topics a principal may publish, and which it may read.
///
/// A rule `#` or `+/…` never covers the router's own topics, those that begin with `$`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes {
    /// A topic must match one of them.
    pub publish: Vec<Pattern>,
    /// A pattern must be covered by one of them. Also for history, presence and queries.
    pub subscribe: Vec<Pattern>,
}

impl Scopes {
    /// The scopes of an account for a principal's name: `{principal}` and `{tenant}` are filled in. An error,
    /// if the name is not one plain topic level (it would widen the scopes) or a pattern is none.
    pub fn of(account: &Account, name: &str) -> Result<Self> {
        for part in [name, &account.tenant] {
            weir_contract::topic::check_name(part)
                .map_err(|error| Error::Internal(format!("`{part}` cannot stand in a scope: {error}")))?;
        }
        let parse = |patterns: &[String]| -> Result<Vec<Pattern>> {
            let filled = patterns.iter().map(|text| weir_contract::topic::fill(text, name, &account.tenant));
            Ok(filled.map(|text| Pattern::parse(&text)).collect::<Result<_, _>>()?)
        };
        Ok(Self { publish: parse(&account.publish)?, subscribe: parse(&account.subscribe)? })
    }

    /// As the claims of a grant: another instance may be asked to authorize. The host accepts 8 KiB.
    pub fn to_claims(&self) -> Vec<u8> {
        let mut claims = Vec::new();
        for (letter, patterns) in [(b'p', &self.publish), (b's', &self.subscribe)] {
            for pattern in patterns {
                claims.push(letter);
                claims.extend_from_slice(pattern.as_str().as_bytes());
                // No pattern holds a NUL, so it can end one.
                claims.push(0);
            }
        }
        claims
    }

    /// What [`Scopes::to_claims`] wrote.
    pub fn from_claims(claims: &[u8]) -> Result<Self> {
        let mut scopes = Self::default();
        for rule in claims.split(|byte| *byte == 0).filter(|rule| !rule.is_empty()) {
            let (letter, text) = rule.split_first().ok_or_else(|| Error::internal("an empty scope"))?;
            let pattern = Pattern::parse(std::str::from_utf8(text)?)?;
            match letter {
                b'p' => scopes.publish.push(pattern),
                b's' => scopes.subscribe.push(pattern),
                _ => return Err(Error::internal("the claims are not scopes")),
            }
        }
        Ok(scopes)
    }

    /// Whether an action on a topic (publish) or a pattern (all others) is within the scopes. An action that
    /// is not known is not; nor is `explain`, which shows more than a scope says.
    pub fn allows(&self, action: Action, topic: &str) -> bool {
        match action {
            Action::Publish => self.publish.iter().any(|rule| rule.covers(topic)),
            Action::Subscribe | Action::History | Action::Presence | Action::Query => {
                self.subscribe.iter().any(|rule| rule.covers(topic))
            }
            Action::Explain | Action::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        let mut account = Account::new("keys", "k1", "main");
        account.publish = vec!["{tenant}/{principal}/#".to_owned()];
        account.subscribe = vec!["news/+".to_owned()];
        account
    }

    #[test]
    fn scopes_survive_the_claims() {
        let scopes = Scopes::of(&account(), "dev-7").unwrap();
        let scopes = Scopes::from_claims(&scopes.to_claims()).unwrap();
        assert!(scopes.allows(Action::Publish, "main/dev-7/up"));
        assert!(!scopes.allows(Action::Publish, "main/dev-8/up"));
        assert!(scopes.allows(Action::Subscribe, "news/today") && scopes.allows(Action::History, "news/+"));
        assert!(!scopes.allows(Action::Subscribe, "news/#") && !scopes.allows(Action::Other, "news/today"));
        assert!(!scopes.allows(Action::Explain, "main/dev-7/up"));
    }

    #[test]
    fn no_name_widens_a_scope() {
        for name in ["+", "#", "a/b", "", "$SYS"] {
            assert!(Scopes::of(&account(), name).is_err(), "{name}");
        }
    }
}
