//! Who a session is: the result of authentication, never what a client claims.

use std::sync::Arc;

use bytes::Bytes;
use weir_contract::packed::{self, tag};

use super::Rights;

/// The principal of a session.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Tenant; `main` where there is only one. See [`Principal::may_touch`].
    pub tenant: Arc<str>,
    /// One topic level, 1 to 128 bytes.
    pub name: Arc<str>,
    /// `device`, `page`, `sensor` or `service`.
    pub origin: Arc<str>,
    /// Id of the account that the session rests on: when that is revoked, the session ends.
    pub account: Option<Arc<str>>,
    /// When the session must end, Unix microseconds.
    pub expires_us: Option<u64>,
    /// The auth plugin's own note, handed back to it on every authorize.
    pub claims: Arc<[u8]>,
    /// The auth binding that let the session in: the only one that is asked to authorize. `gateway:NAME` if a gateway
    /// did.
    pub binding: Arc<str>,
    /// What the gateway allows that let it in itself; none: the auth binding is asked.
    pub rights: Option<Arc<Rights>>,
    /// Packed fields 0x03-0x09 with the format byte, as `authorize` gets them and messages carry them.
    pub packed: Bytes,
}

/// Why a grant is no principal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrincipalError {
    /// The name would widen `{principal}` in a scope.
    #[error(
        "principal name {0:?} is not one topic level of 1 to 128 bytes without / + # NUL or a leading $: percent-encode it"
    )]
    Name(String),
    /// Not one of the four.
    #[error("origin {0:?} is not device, page, sensor or service")]
    Origin(String),
    /// The name would widen what the tenant may touch.
    #[error("tenant {0:?} is not one topic level of 1 to 128 bytes without / + # NUL or a leading $")]
    Tenant(String),
    /// Attributes over their limit.
    #[error("the grant's attributes take {0} bytes: 1024 are accepted")]
    Attributes(usize),
    /// Claims over their limit.
    #[error("the grant's claims take {0} bytes: 8192 are accepted")]
    Claims(usize),
}

/// What makes a [`Principal`]; texts come from an auth plugin and are not trusted.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    /// A tenant; that it exists is seen to by whoever has the accounts.
    pub tenant: String,
    /// One topic level.
    pub name: String,
    /// One of the four.
    pub origin: String,
    /// Account id.
    pub account: Option<String>,
    /// When the session must end, Unix microseconds.
    pub expires_us: Option<u64>,
    /// At most 8 KiB.
    pub claims: Vec<u8>,
    /// 1 KiB in all.
    pub attributes: Vec<(String, String)>,
}

const ORIGINS: [&str; 4] = ["device", "page", "sensor", "service"];
/// The tenant that is not confined.
const OPERATOR: &str = "main";
const NAME_BYTES: usize = 128;
const CLAIM_BYTES: usize = 8 * 1024;
const ATTRIBUTE_BYTES: usize = 1024;

impl Principal {
    /// Checks a grant and packs it.
    pub fn new(
        grant: Grant,
        binding: Arc<str>,
        gateway: &str,
        session: &str,
    ) -> Result<Self, PrincipalError> {
        if !is_one_level(&grant.name) {
            return Err(PrincipalError::Name(grant.name));
        }
        if !ORIGINS.contains(&grant.origin.as_str()) {
            return Err(PrincipalError::Origin(grant.origin));
        }
        if !is_one_level(&grant.tenant) {
            return Err(PrincipalError::Tenant(grant.tenant));
        }
        if grant.claims.len() > CLAIM_BYTES {
            return Err(PrincipalError::Claims(grant.claims.len()));
        }
        let packed = pack(&grant, gateway, session)?;
        Ok(Self {
            tenant: grant.tenant.into(),
            name: grant.name.into(),
            origin: grant.origin.into(),
            account: grant.account.map(Arc::from),
            expires_us: grant.expires_us,
            rights: Rights::of(&binding, &grant.claims),
            claims: grant.claims.into(),
            binding,
            packed: packed.into(),
        })
    }

    /// Whether the tenant lets its principals come near a topic or a pattern at all: the first level of what those
    /// of another tenant than `main` publish to, subscribe to or ask for must be the tenant's name. Whoever is
    /// asked for permissions is asked only after this.
    pub fn may_touch(&self, topic: &str) -> bool {
        &*self.tenant == OPERATOR || topic.split('/').next() == Some(&*self.tenant)
    }
}

fn is_one_level(name: &str) -> bool {
    (1..=NAME_BYTES).contains(&name.len()) && !name.contains(['/', '+', '#', '\0']) && !name.starts_with('$')
}

fn pack(grant: &Grant, gateway: &str, session: &str) -> Result<Vec<u8>, PrincipalError> {
    let attribute_bytes: usize = grant.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    if attribute_bytes > ATTRIBUTE_BYTES {
        return Err(PrincipalError::Attributes(attribute_bytes));
    }
    let mut blob = Vec::with_capacity(128);
    packed::put(&mut blob, tag::TENANT, grant.tenant.as_bytes());
    packed::put(&mut blob, tag::NAME, grant.name.as_bytes());
    packed::put(&mut blob, tag::ORIGIN, grant.origin.as_bytes());
    packed::put(&mut blob, tag::SESSION, session.as_bytes());
    packed::put(&mut blob, tag::GATEWAY, gateway.as_bytes());
    if let Some(account) = &grant.account {
        packed::put(&mut blob, tag::ACCOUNT, account.as_bytes());
    }
    for (name, value) in &grant.attributes {
        let Ok(len) = u8::try_from(name.len()) else {
            return Err(PrincipalError::Attributes(name.len()));
        };
        let mut field = vec![len];
        field.extend_from_slice(name.as_bytes());
        field.extend_from_slice(value.as_bytes());
        packed::put(&mut blob, tag::ATTRIBUTE, &field);
    }
    Ok(blob)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_contract::topic::Pattern;

    use super::*;

    fn of(tenant: &str) -> Result<Principal, PrincipalError> {
        let (name, origin) = ("n".into(), "service".into());
        let grant = Grant { tenant: tenant.into(), name, origin, ..Grant::default() };
        Principal::new(grant, "b".into(), "http", "s1")
    }

    #[test]
    fn a_tenant_ends_at_its_own_level() {
        let lab = of("lab").unwrap();
        for inside in ["lab", "lab/", "lab/a", "lab/#", "lab/+/c", "lab//"] {
            assert!(lab.may_touch(inside), "{inside}");
        }
        for outside in [
            "", "/lab", "#", "+", "+/a", "labs/a", "la", "LAB/a", "$lab/a", "$SYS/lab", "a/lab", " lab/a",
            "lab%2Fa",
        ] {
            assert!(!lab.may_touch(outside), "{outside}");
        }
        assert!(of("main").unwrap().may_touch("#") && of("main").unwrap().may_touch("lab/a"));
        for bad in ["", "a/b", "+", "#", "lab#", "$lab", "a\0", &"x".repeat(129)] {
            assert_eq!(of(bad).err(), Some(PrincipalError::Tenant(bad.to_owned())), "{bad}");
        }
    }

    /// Levels that are alike or special, so that wrong answers are met.
    fn level() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("lab".to_owned()),
            Just("labs".to_owned()),
            Just(String::new()),
            Just("$lab".to_owned()),
            "[a-c]{1,2}"
        ]
    }

    fn wild() -> impl Strategy<Value = String> {
        prop_oneof![3 => level(), 1 => Just("+".to_owned()), 1 => Just("#".to_owned())]
    }

    proptest! {
        /// What a tenant may subscribe to matches nothing outside of it.
        #[test]
        fn no_pattern_of_a_tenant_leaves_it(
            pattern in proptest::collection::vec(wild(), 1..5),
            topic in proptest::collection::vec(level(), 1..5),
        ) {
            let (pattern, topic) = (pattern.join("/"), topic.join("/"));
            let lab = of("lab").unwrap();
            if let (Ok(parsed), true) = (Pattern::parse(&pattern), lab.may_touch(&pattern))
                && parsed.matches(&topic)
            {
                prop_assert!(topic == "lab" || topic.starts_with("lab/"), "{pattern} matches {topic}");
            }
        }
    }
}
