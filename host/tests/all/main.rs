//! The router as its users meet it: every test starts the real server and speaks to it over real sockets.
//! One binary, since each would link the whole engine.

// Helpers of tests may fail loudly, as tests do; clippy knows only of the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod harness;

mod accounts;
mod activation;
mod bridge;
mod clients;
mod consumers;
mod crash;
mod dead;
mod deploy;
mod disk_full;
mod examples;
mod explain;
mod folder;
mod foreign;
mod frames;
mod ganomics;
mod gateway;
mod grants;
mod history;
mod hostile;
mod inbox;
mod isolation;
mod keys;
mod levels;
mod limits;
mod logins;
mod logs;
mod migration;
mod mqtt;
mod mqtt_door;
mod mqtt_matrix;
mod mqtt_sessions;
mod misbehaviour;
mod mistakes;
mod outbox;
mod permissions;
mod paikea;
mod picloud;
mod places;
mod plugin_limits;
mod policies;
mod presence;
mod proxy;
mod rebuild;
mod recorded;
mod request;
mod requeue;
mod resume;
mod retained;
mod retention;
mod rooms;
mod shadow;
mod secrets;
mod sensors;
mod shutdown;
mod slow_policies;
mod slow_reader;
mod sse;
mod swap;
mod tenta_rest;
mod tidy;
mod try_out;
mod timeseries;
mod tls;
mod together;
mod trace;
mod transactions;
mod versions;
mod webhooks;
