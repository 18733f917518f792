//! Sessions and messages as they are everywhere.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use weir::message::{Grant, Message, Principal};
use weir::session::{OutboundLimits, Session};
use weir::store::{Store, StoreOptions};
use weir_contract::packed::{put, put_text, put_u64, tag};

/// A topic of three levels.
pub const TOPIC: &str = "sensors/cellar/temperature";
/// 128 bytes of JSON.
pub const PAYLOAD: &str = r#"{"celsius":12.25,"humidity":0.61,"battery":{"volts":3.61,"low":false},"from":"cellar, second shelf on the left","sequence":123456}"#;
/// Microseconds of no particular day: what is measured must not depend on the time.
pub const RECEIVED_US: u64 = 1_700_000_000_000_000;

/// A session of a sensor that may publish and subscribe everywhere.
pub fn session(id: &str) -> Session {
    let grant = Grant {
        tenant: "main".into(),
        name: "sensor-1".into(),
        origin: "sensor".into(),
        claims: br##"{"publish":["#"],"subscribe":["#"]}"##.to_vec(),
        ..Grant::default()
    };
    let principal = Principal::new(grant, "open".into(), "http", id).expect("a principal");
    let limits = OutboundLimits { messages: 4_096, bytes: 16 << 20 };
    Session::new(id.into(), principal, "http", String::new(), limits, None)
}

/// A message of this session, admitted and stamped.
pub fn message(session: &Session, topic: &str) -> Message {
    let mut meta = Vec::new();
    put(&mut meta, tag::ID, &[7; 16]);
    put_u64(&mut meta, tag::RECEIVED_US, RECEIVED_US);
    meta.extend_from_slice(&session.principal.packed[1..]);
    put_text(&mut meta, tag::CONTENT_TYPE, "application/json");
    Message { topic: topic.into(), meta: meta.into(), payload: PAYLOAD.into() }
}

/// A store whose writer thread sleeps while a stage is counted: only the queue before it is of interest.
pub fn store() -> (TempDir, Store) {
    let home = tempfile::tempdir().expect("a temporary folder");
    let options = StoreOptions { flush_every: Duration::from_secs(3_600), ..StoreOptions::default() };
    let store = Store::open(&home.path().join("data"), options).expect("a store");
    (home, store)
}

/// The same message in another place: what is shared is shared.
pub fn copies(message: &Message, count: usize) -> Vec<Message> {
    std::iter::repeat_n(message, count).cloned().collect()
}

/// Shared sessions `s0`, `s1`, ...
pub fn sessions(count: usize) -> Vec<Arc<Session>> {
    (0..count).map(|number| Arc::new(session(&format!("s{number}")))).collect()
}
