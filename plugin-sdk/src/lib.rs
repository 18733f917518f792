#![doc = include_str!("../README.md")]
#![allow(
    clippy::test_attr_in_doctest,
    reason = "the page shows a plugin's file as it stands, its test included"
)]

pub mod accounts;
mod auth;
#[doc(hidden)]
pub mod bindings;
mod error;
mod export;
mod filter;
mod host;
mod key;
pub mod log;
mod message;
mod optional;
mod pattern;
mod plugin;
mod scopes;
mod space;
pub mod state;
mod storage;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod time;
mod transform;

pub use accounts::Account;
pub use auth::{Action, Auth, Credential, Decision, Grant, Permission};
pub use error::{ConfigError, Error, Refusal, Result};
#[doc(hidden)]
pub use export::{Export, Instance, assert};
pub use filter::{Filter, Verdict};
pub use key::{Key, Range};
pub use log::Level;
pub use message::{Draft, Headers, Id, Message, Meta, Origin, Session};
pub use optional::{Migration, SelfTest, Ticker};
pub use pattern::Pattern;
pub use plugin::{Context, NoConfig, Plugin};
pub use scopes::Scopes;
pub use space::{Post, Space};
pub use storage::{Answer, QueryError, Question, Storage, StoreFailure};
pub use time::Time;
pub use transform::{Outcome, Transform};

/// A named text: lower-case ASCII name of 1 to 64 bytes, value of at most 4 KiB.
pub use bindings::imports::weir::plugin::types::Attribute;

pub use serde;
pub use serde_json;
pub use weir_contract as contract;
