//! The types of `wit/`, as the host hands them in and gets them out. Inputs borrow, so that nothing is
//! copied before the copy into the guest; outputs are owned, and guest-controlled.

#![allow(missing_docs, reason = "every field and arm is documented in wit/, whose names they bear")]

use wasmtime::component::{ComponentType, Lift, Lower};

use crate::message::Message;

/// `types.message`, in.
#[derive(ComponentType, Lower, Clone, Copy, Debug)]
#[component(record)]
pub struct MessageIn<'a> {
    pub topic: &'a str,
    pub meta: &'a [u8],
    pub payload: &'a [u8],
}

impl<'a> From<&'a Message> for MessageIn<'a> {
    fn from(message: &'a Message) -> Self {
        Self { topic: &message.topic, meta: &message.meta, payload: &message.payload }
    }
}

/// `types.message`, out.
#[derive(ComponentType, Lift, Clone, Debug)]
#[component(record)]
pub struct MessageOut {
    pub topic: String,
    pub meta: Vec<u8>,
    pub payload: Vec<u8>,
}

/// `types.refusal`.
#[derive(ComponentType, Lift, Clone, Debug)]
#[component(record)]
pub struct Refusal {
    pub reason: String,
    pub path: String,
    pub disconnect: bool,
}

/// `types.failure`.
#[derive(ComponentType, Lift, Debug)]
#[component(variant)]
pub enum Failure {
    #[component(name = "unavailable")]
    Unavailable(String),
    #[component(name = "internal")]
    Internal(String),
}

/// `types.config-error`.
#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub struct ConfigError {
    pub path: String,
    pub reason: String,
}

/// `types.attribute`, both ways.
#[derive(ComponentType, Lift, Lower, Debug, Clone)]
#[component(record)]
pub struct Attribute {
    pub name: String,
    pub value: String,
}

/// `filter.verdict`.
#[derive(ComponentType, Lift, Clone, Debug)]
#[component(variant)]
pub enum Verdict {
    #[component(name = "keep")]
    Keep,
    #[component(name = "drop")]
    Drop(String),
    #[component(name = "refuse")]
    Refuse(Refusal),
}

/// `transform.outcome`.
#[derive(ComponentType, Lift, Clone, Debug)]
#[component(variant)]
pub enum TransformOutcome {
    #[component(name = "unchanged")]
    Unchanged,
    #[component(name = "set-payload")]
    SetPayload(Vec<u8>),
    #[component(name = "set-meta")]
    SetMeta(Vec<u8>),
    #[component(name = "add")]
    Add(Vec<MessageOut>),
    #[component(name = "replace")]
    Replace(Vec<MessageOut>),
    #[component(name = "refuse")]
    Refuse(Refusal),
}

/// `accounts.account`.
#[derive(ComponentType, Lower, Debug, Clone)]
#[component(record)]
pub struct Account {
    pub realm: String,
    pub id: String,
    pub tenant: String,
    pub name: String,
    pub origin: String,
    pub publish: Vec<String>,
    pub subscribe: Vec<String>,
    #[component(name = "expires-us")]
    pub expires_us: Option<u64>,
    pub attributes: Vec<Attribute>,
}

/// `auth.credential`.
#[derive(ComponentType, Lower, Debug, Clone)]
#[component(record)]
pub struct CredentialIn {
    pub gateway: String,
    pub address: String,
    #[component(name = "tls-name")]
    pub tls_name: Option<String>,
    pub user: Option<String>,
    #[component(name = "client-id")]
    pub client_id: Option<String>,
    #[component(name = "secret-from")]
    pub secret_from: Option<String>,
    pub secret: Option<Vec<u8>>,
    pub proven: Vec<Account>,
    pub attributes: Vec<Attribute>,
}

/// `auth.grant`.
#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub struct GrantOut {
    pub tenant: String,
    pub name: String,
    pub origin: String,
    pub account: Option<String>,
    #[component(name = "expires-us")]
    pub expires_us: Option<u64>,
    pub claims: Vec<u8>,
    pub attributes: Vec<Attribute>,
}

/// `auth.decision`.
#[derive(ComponentType, Lift, Debug)]
#[component(variant)]
pub enum Decision {
    #[component(name = "allow")]
    Allow(GrantOut),
    #[component(name = "abstain")]
    Abstain,
    #[component(name = "deny")]
    Deny(String),
}

/// `auth.permission`.
#[derive(ComponentType, Lift, Debug)]
#[component(variant)]
pub enum Permission {
    #[component(name = "allow")]
    Allow,
    #[component(name = "deny")]
    Deny(String),
}

/// `state.pair`, both ways.
#[derive(ComponentType, Lift, Lower, Debug, Clone)]
#[component(record)]
pub struct Pair {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    #[component(name = "expires-us")]
    pub expires_us: Option<u64>,
}

/// `state.state-error`.
#[derive(ComponentType, Lower, Debug, Clone, PartialEq, Eq)]
#[component(variant)]
pub enum StateError {
    #[component(name = "quota")]
    Quota(u64),
    #[component(name = "too-large")]
    TooLarge,
    #[component(name = "read-only")]
    ReadOnly,
    #[component(name = "not-a-number")]
    NotANumber,
    #[component(name = "unavailable")]
    Unavailable(String),
}

/// `accounts.accounts-error`.
#[derive(ComponentType, Lower, Debug, Clone)]
#[component(variant)]
pub enum AccountsError {
    #[component(name = "not-granted")]
    NotGranted,
    #[component(name = "unavailable")]
    Unavailable(String),
}

/// `logging.level`.
#[derive(ComponentType, Lift, Lower, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[component(enum)]
#[repr(u8)]
pub enum LogLevel {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

/// `storage.post`.
#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub struct Post {
    pub url: String,
    pub headers: Vec<Attribute>,
    pub body: Vec<u8>,
    pub key: String,
}

/// `storage.write`.
#[derive(ComponentType, Lift, Debug)]
#[component(variant)]
pub enum Write {
    #[component(name = "put")]
    Put(Pair),
    #[component(name = "delete")]
    Delete(Vec<u8>),
    #[component(name = "post")]
    Post(Post),
}

/// `storage.bad-message`.
#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub struct BadMessage {
    pub index: u32,
    pub reason: String,
}

/// `storage.store-failure`.
#[derive(ComponentType, Lift, Debug)]
#[component(variant)]
pub enum StoreFailure {
    #[component(name = "unprocessable")]
    Unprocessable(BadMessage),
    #[component(name = "unavailable")]
    Unavailable(String),
    #[component(name = "internal")]
    Internal(String),
}

/// `storage.question`.
#[derive(ComponentType, Lower, Debug, Clone)]
#[component(record)]
pub struct QuestionIn<'a> {
    pub topic: &'a str,
    pub params: &'a str,
    pub cursor: Option<&'a [u8]>,
    pub limit: u32,
    pub session: &'a [u8],
}

/// `storage.answer`.
#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub struct AnswerOut {
    pub items: Vec<String>,
    pub next: Option<Vec<u8>>,
}

/// `storage.query-error`.
#[derive(ComponentType, Lift, Debug)]
#[component(variant)]
pub enum QueryError {
    #[component(name = "invalid")]
    Invalid(ConfigError),
    #[component(name = "not-found")]
    NotFound,
    #[component(name = "unavailable")]
    Unavailable(String),
    #[component(name = "internal")]
    Internal(String),
}
