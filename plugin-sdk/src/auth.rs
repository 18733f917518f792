use crate::bindings::auth::exports::weir::plugin::auth as wit;
use crate::bindings::imports::weir::plugin::types;
use crate::{Account, Attribute, Error, Export, Instance, Plugin, Result, Session, Time, export};

/// Decides who a client is and what it may do. Never sees messages.
pub trait Auth: Plugin {
    /// Once per session (connection, or HTTP request), in binding order. An error: denied.
    fn authenticate(&self, credential: &Credential) -> Result<Decision>;

    /// Once per session, action and topic; the host caches the answer. `claims` are those of the grant.
    /// Every action but `Publish` comes with a pattern: allow it only if every topic that it matches is
    /// allowed ([`crate::Scopes::allows`] does). An error: denied, not cached.
    fn authorize(&self, who: &Session<'_>, claims: &[u8], action: Action, topic: &str) -> Result<Permission>;
}

/// What a client presents. Everything here is a claim, but `gateway`, `address`, `tls_name` and `proven`,
/// which the host vouches for.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Credential {
    /// `http`, `mqtt`, …; more may come.
    pub gateway: String,
    /// Peer address without port.
    pub address: String,
    /// Name in a client certificate that the TLS layer verified.
    pub tls_name: Option<String>,
    /// User name; may be empty.
    pub user: Option<String>,
    /// MQTT client id, or native client name.
    pub client_id: Option<String>,
    /// Where a secret was found: `bearer`, `header`, `query`, `password`, `path`. None: no secret given.
    pub secret_from: Option<String>,
    /// The secret itself; always none unless the binding grants `read-secret`.
    pub secret: Option<Vec<u8>>,
    /// Accounts that the secret proves, best first.
    pub proven: Vec<Account>,
    /// `path`, `origin`, `host`, `user-agent`, … as the gateway documents.
    pub attributes: Vec<Attribute>,
}

impl Credential {
    /// The first proven account of a realm: `keys`, `users`, `endpoints`, …
    pub fn proven_in(&self, realm: &str) -> Option<&Account> {
        self.proven.iter().find(|account| account.realm == realm)
    }

    /// The value of the first attribute with this name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|attribute| attribute.name == name).map(|found| found.value.as_str())
    }
}

/// The secret is left out, so that no log line can hold one.
impl std::fmt::Debug for Credential {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Credential")
            .field("gateway", &self.gateway)
            .field("address", &self.address)
            .field("user", &self.user)
            .field("client_id", &self.client_id)
            .field("secret_from", &self.secret_from)
            .field("proven", &self.proven.len())
            .finish_non_exhaustive()
    }
}

/// The principal to be, for the life of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// An existing tenant that the binding allows.
    pub tenant: String,
    /// One topic level, 1 to 128 bytes: it replaces `{principal}` in scopes.
    pub name: String,
    /// `device`, `page`, `sensor` or `service`.
    pub origin: String,
    /// Id of the proven account on which this rests: when it is revoked or expires, the session ends.
    pub account: Option<String>,
    /// When the session must end. None: with the account.
    pub expires: Option<Time>,
    /// At most 8 KiB, handed back on every `authorize`: see [`crate::Scopes::to_claims`].
    pub claims: Vec<u8>,
    /// Stamped on every message of the session; 1 KiB in all.
    pub attributes: Vec<Attribute>,
}

impl Grant {
    /// A principal without account, claims and attributes.
    pub fn new(tenant: impl ToString, name: impl ToString, origin: impl ToString) -> Self {
        Self {
            tenant: tenant.to_string(),
            name: name.to_string(),
            origin: origin.to_string(),
            account: None,
            expires: None,
            claims: Vec::new(),
            attributes: Vec::new(),
        }
    }
}

/// What becomes of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// In, as this principal. Only this binding is asked to authorize it.
    Allow(Grant),
    /// Not mine: the next auth plugin is asked. A wrong key is this, since another plugin may know it.
    Abstain,
    /// Out, and nobody else is asked. The reason is logged, not sent.
    Deny(String),
}

/// What becomes of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// Let it.
    Allow,
    /// The reason is logged; the client learns only "denied".
    Deny(String),
}

impl Permission {
    /// Allow, or deny without a reason.
    pub fn allow_if(allow: bool) -> Self {
        if allow { Self::Allow } else { Self::Deny(String::new()) }
    }
}

/// What a client wants to do. An open set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Publish to a topic.
    Publish,
    /// Receive what matches a pattern.
    Subscribe,
    /// Read the log of what matches a pattern.
    History,
    /// Learn who is subscribed to what matches a pattern.
    Presence,
    /// Ask a storage plugin about a pattern.
    Query,
    /// Learn what every plugin says of a message to a topic, without publishing it. It shows what plugins do:
    /// for those who look after them.
    Explain,
    /// Something that this version does not know: deny it.
    Other,
}

impl Action {
    /// From its name in the contract.
    pub fn parse(name: &str) -> Self {
        match name {
            "publish" => Self::Publish,
            "subscribe" => Self::Subscribe,
            "history" => Self::History,
            "presence" => Self::Presence,
            "query" => Self::Query,
            "explain" => Self::Explain,
            _ => Self::Other,
        }
    }
}

impl<P: Auth + Instance> wit::Guest for Export<P> {
    fn init(config: String, context: Vec<u8>) -> Result<(), types::ConfigError> {
        export::init::<P>(&config, context)
    }

    fn authenticate(credential: wit::Credential) -> Result<wit::Decision, types::Failure> {
        let credential = Credential::from(credential);
        Ok(match settle(export::call(|plugin: &P| plugin.authenticate(&credential)), Decision::Deny)? {
            Decision::Allow(grant) => wit::Decision::Allow(grant.into()),
            Decision::Abstain => wit::Decision::Abstain,
            Decision::Deny(reason) => wit::Decision::Deny(reason),
        })
    }

    fn authorize(
        session: Vec<u8>,
        claims: Vec<u8>,
        action: String,
        topic: String,
    ) -> Result<wit::Permission, types::Failure> {
        let (who, action) = (Session::new(&session), Action::parse(&action));
        let asked = export::call(|plugin: &P| plugin.authorize(&who, &claims, action, &topic));
        Ok(match settle(asked, Permission::Deny)? {
            Permission::Allow => wit::Permission::Allow,
            Permission::Deny(reason) => wit::Permission::Deny(reason),
        })
    }
}

/// A refusal by `?` is a denial.
pub(crate) fn settle<T>(result: Result<T>, deny: impl FnOnce(String) -> T) -> Result<T> {
    match result {
        Err(Error::Refused(refusal)) => Ok(deny(refusal.reason)),
        other => other,
    }
}

impl From<wit::Credential> for Credential {
    fn from(raw: wit::Credential) -> Self {
        Self {
            gateway: raw.gateway,
            address: raw.address,
            tls_name: raw.tls_name,
            user: raw.user,
            client_id: raw.client_id,
            secret_from: raw.secret_from,
            secret: raw.secret,
            proven: raw.proven,
            attributes: raw.attributes,
        }
    }
}

impl From<Grant> for wit::Grant {
    fn from(grant: Grant) -> Self {
        Self {
            tenant: grant.tenant,
            name: grant.name,
            origin: grant.origin,
            account: grant.account,
            expires_us: grant.expires.map(Time::micros),
            claims: grant.claims,
            attributes: grant.attributes,
        }
    }
}
