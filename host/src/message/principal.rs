//! Who a session is: the result of authentication, never what a client claims.

use std::sync::Arc;

use bytes::Bytes;
use weir_contract::packed::{self, tag};

use super::Rights;

/// The principal of a session.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Tenant; `main` where there is only one.
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
    /// Does not exist.
    #[error("tenant {0:?} does not exist: accepted is main")]
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
    /// An existing tenant.
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
        let one_level = (1..=NAME_BYTES).contains(&grant.name.len())
            && !grant.name.contains(['/', '+', '#', '\0'])
            && !grant.name.starts_with('$');
        if !one_level {
            return Err(PrincipalError::Name(grant.name));
        }
        if !ORIGINS.contains(&grant.origin.as_str()) {
            return Err(PrincipalError::Origin(grant.origin));
        }
        if grant.tenant != "main" {
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
