//! What no type can say of `[bridge.mqtt]`.

use std::time::Duration;

use weir_contract::topic::{self, Pattern, is_reserved};

use super::Problem;
use crate::config::MqttBridge;

/// Patterns of each direction.
const PATTERNS: usize = 64;
/// Bytes of a client identifier.
const CLIENT_ID: usize = 256;
/// Messages that may wait for their acknowledgement.
const IN_FLIGHT: u16 = 10_000;
/// The protocol has 16 bits for seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(65_535);
const SESSION: Duration = Duration::from_secs(30 * 24 * 3_600);
const SECOND: Duration = Duration::from_secs(1);

fn problem(key: &str, message: impl Into<String>) -> Problem {
    Problem::new(&["bridge", "mqtt", key], message)
}

/// A file of authorities that cannot be used.
pub(in crate::config) fn authorities(error: String) -> Problem {
    problem("ca", error)
}

pub(super) fn check(bridge: &MqttBridge) -> Result<(), Problem> {
    texts(bridge)?;
    times(bridge)?;
    starts(bridge)?;
    if bridge.incoming.is_empty() && bridge.outgoing.is_empty() {
        return Err(Problem::new(
            &["bridge", "mqtt"],
            "nothing would come in or go out: give `in` or `out`, for example in = [\"measurements/#\"]",
        ));
    }
    patterns("in", &bridge.incoming, [&bridge.base(), &bridge.prefix()])?;
    patterns("out", &bridge.outgoing, [&bridge.base(), &bridge.prefix()])?;
    overlap(bridge)
}

fn texts(bridge: &MqttBridge) -> Result<(), Problem> {
    let id = &bridge.client_id;
    if !(1..=CLIENT_ID).contains(&id.len()) || id.contains('\0') {
        return Err(problem(
            "client_id",
            format!("found {id:?}, expected 1 to {CLIENT_ID} bytes without NUL"),
        ));
    }
    if bridge
        .username
        .as_deref()
        .is_some_and(|name| name.is_empty() || name.len() > 1_024 || name.contains('\0'))
    {
        return Err(problem("username", "expected 1 to 1024 bytes without NUL"));
    }
    if bridge.password.is_some() && bridge.username.is_none() {
        return Err(problem("password", "a password needs a `username` beside it"));
    }
    if bridge.ca.is_some() && !bridge.url.tls {
        return Err(problem(
            "ca",
            "authorities are asked only of a broker with TLS: write url = \"mqtts://…\"",
        ));
    }
    if !matches!(bridge.version, 4 | 5) {
        let message = format!("found {}, expected 5, or 4 for MQTT 3.1.1", bridge.version);
        return Err(problem("version", message));
    }
    if bridge.max_in_flight.get() > IN_FLIGHT {
        let message = format!("found {}, expected 1 to {IN_FLIGHT}", bridge.max_in_flight);
        return Err(problem("max_in_flight", message));
    }
    Ok(())
}

fn times(bridge: &MqttBridge) -> Result<(), Problem> {
    for (key, value, most) in
        [("keep_alive", bridge.keep_alive, KEEP_ALIVE), ("session_expiry", bridge.session_expiry, SESSION)]
    {
        if !(SECOND..=most).contains(&value) {
            return Err(problem(key, format!("found {value:?}, expected 1s to {most:?}")));
        }
    }
    let (first, longest) = (bridge.first_pause, bridge.longest_pause);
    if first.is_zero() || first > longest {
        let message = format!("found {first:?}, expected 1ms to longest_pause ({longest:?})");
        return Err(problem("first_pause", message));
    }
    Ok(())
}

fn starts(bridge: &MqttBridge) -> Result<(), Problem> {
    for (key, start) in [("base_topic", &bridge.base_topic), ("local_prefix", &bridge.local_prefix)] {
        if start.is_empty() {
            continue;
        }
        if let Err(error) = topic::check(start) {
            return Err(problem(key, format!("{start:?} cannot begin a topic: {error}")));
        }
        if is_reserved(start) {
            return Err(problem(key, format!("{start:?}: topics beginning with $ are a broker's own")));
        }
    }
    Ok(())
}

fn patterns(key: &str, names: &[String], starts: [&str; 2]) -> Result<(), Problem> {
    if names.len() > PATTERNS {
        return Err(problem(key, format!("found {} patterns, expected at most {PATTERNS}", names.len())));
    }
    for (nth, name) in names.iter().enumerate() {
        let problem = |why: String| Problem::new(&["bridge", "mqtt", key, &nth.to_string()], why);
        for whole in starts.map(|start| format!("{start}{name}")) {
            if let Err(error) = Pattern::check(&whole) {
                return Err(problem(format!("pattern {whole:?} cannot be used: {error}")));
            }
        }
        if is_reserved(name) {
            return Err(problem(format!("pattern {name:?}: names beginning with $ are a broker's own")));
        }
    }
    Ok(())
}

/// Only version 5 lets a client say that it does not want its own messages back.
fn overlap(bridge: &MqttBridge) -> Result<(), Problem> {
    if bridge.version == 5 {
        return Ok(());
    }
    let parsed =
        |names: &[String]| names.iter().filter_map(|name| Pattern::parse(name).ok()).collect::<Vec<_>>();
    let incoming = parsed(&bridge.incoming);
    for out in parsed(&bridge.outgoing) {
        if let Some(back) = incoming.iter().find(|pattern| pattern.overlaps(&out)) {
            let (out, back) = (out.as_str(), back.as_str());
            let message =
                format!("with version 4 the broker sends back what goes out: {out:?} meets {back:?} of `in`");
            return Err(problem("out", message));
        }
    }
    Ok(())
}
