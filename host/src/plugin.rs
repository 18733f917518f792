//! Plugins: compiled once, instantiated per shard, bound by files in a folder, swapped as one chain.
//!
//! In the order of a plugin's life: [`folder`] (what lies there), [`binding`] (what its file says),
//! [`activation`] (the steps that a file must pass, [`inspect`], [`signature`], [`kind`] and [`compiler`] among
//! them), [`component`] (what is made once of it), [`chain`] (the snapshot that messages use), [`instance`]
//! and [`guest`] (calls and their limits), [`imports`] (what a guest may call), [`reload`] (all of it again,
//! whenever the folder changes).

pub mod activation;
pub mod binding;
pub mod chain;
pub mod compiler;
pub mod component;
pub mod contract;
mod deed;
pub mod engine;
mod error;
mod fence;
pub mod folder;
mod grants;
pub mod health;
pub mod guest;
pub mod imports;
mod info;
pub mod inspect;
pub mod instance;
pub mod kind;
pub mod reload;
mod report;
pub mod shadow;
pub mod signature;
pub mod space;
mod spares;
pub mod stock;

pub use binding::Policy;
pub use chain::{AuthSlot, Binding, Chain, Closed};
pub use deed::{Deed, Refused};
pub use engine::Engine;
pub use error::{CallError, LoadError};
pub use fence::Fence;
pub use info::*;
pub use instance::Instance;
pub use kind::Kind;
pub use reload::{Candidate, Event, HistoryLine, Plugins, PluginsOptions, Trial, check};
pub use report::Report;
