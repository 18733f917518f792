//! All limits and timeouts that can be set, in one list.

use std::time::Duration;

use serde::Deserialize;

use super::unit;

const MIB: usize = 1024 * 1024;

/// What one client may take.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of one message's payload; the plugin contract knows no more than 1 MiB.
    #[serde(deserialize_with = "unit::size")]
    pub message_bytes: usize,
    /// Patterns that one session may hold.
    #[serde(deserialize_with = "unit::count")]
    pub subscriptions_per_session: usize,
    /// Durable consumers and groups that one principal may make.
    #[serde(deserialize_with = "unit::count")]
    pub consumers_per_principal: usize,
    /// Durable consumers and groups in all.
    #[serde(deserialize_with = "unit::count")]
    pub consumers: usize,
    /// Retained messages in all, one of each topic; 0 = none are accepted.
    #[serde(deserialize_with = "unit::count")]
    pub retained_messages: usize,
    /// Their bytes: topics, metadata and payloads.
    #[serde(deserialize_with = "unit::size")]
    pub retained_bytes: usize,
    /// Open sockets per listener.
    #[serde(deserialize_with = "unit::count")]
    pub connections: usize,
    /// Messages per second that one publisher (key and client id) may publish; 0 = no limit.
    #[serde(deserialize_with = "unit::count")]
    pub publishes_per_s: u32,
    /// Messages and answers that may wait for one slow reader.
    #[serde(deserialize_with = "unit::count")]
    pub queue_messages: usize,
    /// Bytes that may wait for one slow reader.
    #[serde(deserialize_with = "unit::size")]
    pub queue_bytes: usize,
    /// Bytes of one HTTP request's body.
    #[serde(deserialize_with = "unit::size")]
    pub request_bytes: usize,
    /// Messages in one HTTP request.
    #[serde(deserialize_with = "unit::count")]
    pub requests_messages: usize,
    /// Until the first byte of a connection.
    #[serde(deserialize_with = "unit::duration")]
    pub first_byte: Duration,
    /// Until the end of the headers.
    #[serde(deserialize_with = "unit::duration")]
    pub headers: Duration,
    /// Until the end of the body.
    #[serde(deserialize_with = "unit::duration")]
    pub body: Duration,
    /// A WebSocket peer that sends nothing for so long is pinged, and closed when it stays silent as long again.
    #[serde(deserialize_with = "unit::duration")]
    pub silence: Duration,
    /// A socket that takes no byte for so long is closed.
    #[serde(deserialize_with = "unit::duration")]
    pub write: Duration,
    /// How long a stopping server waits for what is under way.
    #[serde(deserialize_with = "unit::duration")]
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: MIB,
            subscriptions_per_session: 1_000,
            consumers_per_principal: 100,
            consumers: 10_000,
            retained_messages: 100_000,
            retained_bytes: 64 * MIB,
            connections: 20_000,
            publishes_per_s: 0,
            queue_messages: 8_192,
            queue_bytes: 4 * MIB,
            request_bytes: 4 * MIB,
            requests_messages: 1_000,
            first_byte: Duration::from_secs(10),
            headers: Duration::from_secs(10),
            body: Duration::from_secs(30),
            silence: Duration::from_secs(30),
            write: Duration::from_secs(10),
            drain: Duration::from_secs(10),
        }
    }
}

/// What one plugin may take.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginLimits {
    /// Wall-clock time of one call; generous, so that a preempted machine convicts nobody.
    #[serde(deserialize_with = "unit::duration")]
    pub deadline: Duration,
    /// Wall-clock time of `init`.
    #[serde(deserialize_with = "unit::duration")]
    pub init_deadline: Duration,
    /// Wall-clock time of one call of a storage plugin, which gets a whole batch.
    #[serde(deserialize_with = "unit::duration")]
    pub store_deadline: Duration,
    /// Wall-clock time of all calls of one publish together.
    #[serde(deserialize_with = "unit::duration")]
    pub pass_deadline: Duration,
    /// Linear memory of one instance.
    #[serde(deserialize_with = "unit::size")]
    pub memory_bytes: usize,
    /// Size of a plugin's file.
    #[serde(deserialize_with = "unit::size")]
    pub file_bytes: usize,
    /// Bytes that one call may return.
    #[serde(deserialize_with = "unit::size")]
    pub output_bytes: usize,
    /// Messages that one call may return.
    #[serde(deserialize_with = "unit::count")]
    pub output_messages: usize,
    /// Messages that one publish may become.
    #[serde(deserialize_with = "unit::count")]
    pub pass_messages: usize,
    /// Bytes of one binding's `state`.
    #[serde(deserialize_with = "unit::size")]
    pub state_bytes: usize,
    /// Log lines per second; more are counted and left out.
    #[serde(deserialize_with = "unit::count")]
    pub log_lines_per_s: u32,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(50),
            init_deadline: Duration::from_secs(5),
            store_deadline: Duration::from_secs(1),
            pass_deadline: Duration::from_millis(250),
            memory_bytes: 32 * MIB,
            file_bytes: 16 * MIB,
            output_bytes: 4 * MIB,
            output_messages: 256,
            pass_messages: 1_024,
            state_bytes: 64 * MIB,
            log_lines_per_s: 100,
        }
    }
}
