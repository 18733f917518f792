//! All limits and timeouts that can be set, in one list.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::Deserializer;

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
    /// Wrong passwords that one address may present at once, and then one a second; 0 = no limit.
    #[serde(deserialize_with = "unit::count")]
    pub failed_logins: u32,
    /// Messages and answers that may wait for one slow reader.
    #[serde(deserialize_with = "unit::count")]
    pub queue_messages: usize,
    /// Bytes that may wait for one slow reader.
    #[serde(deserialize_with = "unit::size")]
    pub queue_bytes: usize,
    /// Bytes that WebSocket messages whose end is still to come may hold, of all connections together.
    #[serde(deserialize_with = "unit::size")]
    pub unfinished_bytes: usize,
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
    /// From the first byte of a WebSocket message to its last.
    #[serde(deserialize_with = "unit::duration")]
    pub message: Duration,
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
            failed_logins: 20,
            queue_messages: 8_192,
            queue_bytes: 16 * MIB,
            unfinished_bytes: 64 * MIB,
            request_bytes: 4 * MIB,
            requests_messages: 1_000,
            first_byte: Duration::from_secs(10),
            headers: Duration::from_secs(10),
            body: Duration::from_secs(30),
            message: Duration::from_secs(30),
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
    /// Elements of one instance's tables.
    #[serde(deserialize_with = "unit::count")]
    pub table_elements: usize,
    /// Stack of one call.
    #[serde(deserialize_with = "unit::size")]
    pub stack_bytes: usize,
    /// Bytes that one call into the host may copy, and what a call returns.
    #[serde(deserialize_with = "unit::size")]
    pub hostcall_bytes: usize,
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
            table_elements: 20_000,
            stack_bytes: 512 * 1024,
            hostcall_bytes: 8 * MIB,
            file_bytes: 16 * MIB,
            output_bytes: 4 * MIB,
            output_messages: 256,
            pass_messages: 1_024,
            state_bytes: 64 * MIB,
            log_lines_per_s: 100,
        }
    }
}

/// Some of a plugin's limits: what a binding sets for itself (`[limits]`), and up to where it may
/// (`[plugin_ceiling]`). The names are those of `[plugin]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "they are those of `PluginLimits`")]
pub struct LimitsTable {
    #[serde(deserialize_with = "some_duration")]
    pub deadline: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    pub init_deadline: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    pub store_deadline: Option<Duration>,
    #[serde(deserialize_with = "some_size")]
    pub memory_bytes: Option<usize>,
    #[serde(deserialize_with = "some_count")]
    pub table_elements: Option<usize>,
    #[serde(deserialize_with = "some_size")]
    pub stack_bytes: Option<usize>,
    #[serde(deserialize_with = "some_size")]
    pub hostcall_bytes: Option<usize>,
    #[serde(deserialize_with = "some_size")]
    pub file_bytes: Option<usize>,
    #[serde(deserialize_with = "some_size")]
    pub output_bytes: Option<usize>,
    #[serde(deserialize_with = "some_count")]
    pub output_messages: Option<usize>,
    #[serde(deserialize_with = "some_size")]
    pub state_bytes: Option<usize>,
    #[serde(deserialize_with = "some_count")]
    pub log_lines_per_s: Option<u32>,
}

fn some_duration<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    unit::duration(input).map(Some)
}

fn some_size<'de, D: Deserializer<'de>>(input: D) -> Result<Option<usize>, D::Error> {
    unit::size(input).map(Some)
}

fn some_count<'de, D: Deserializer<'de>, T: TryFrom<u64>>(input: D) -> Result<Option<T>, D::Error> {
    unit::count(input).map(Some)
}

impl PluginLimits {
    /// These, but for what a binding sets for itself. Err: a limit that is 0, or over what the operator lets
    /// bindings have, which is never less than what all have: its name and why.
    pub fn with(&self, own: &LimitsTable, ceiling: &LimitsTable) -> Result<Self, (&'static str, String)> {
        let PluginLimits {
            deadline,
            init_deadline,
            store_deadline,
            memory_bytes,
            table_elements,
            stack_bytes,
            hostcall_bytes,
            file_bytes,
            output_bytes,
            output_messages,
            state_bytes,
            log_lines_per_s,
            pass_deadline,
            pass_messages,
        } = self;
        let most = LimitsTable::ceiling();
        macro_rules! own {
            ($name:ident) => {
                limit(stringify!($name), own.$name, *$name, ceiling.$name.or(most.$name))?
            };
        }
        Ok(Self {
            deadline: own!(deadline),
            init_deadline: own!(init_deadline),
            store_deadline: own!(store_deadline),
            memory_bytes: own!(memory_bytes),
            table_elements: own!(table_elements),
            stack_bytes: own!(stack_bytes),
            hostcall_bytes: own!(hostcall_bytes),
            file_bytes: own!(file_bytes),
            output_bytes: own!(output_bytes),
            output_messages: own!(output_messages),
            state_bytes: own!(state_bytes),
            log_lines_per_s: own!(log_lines_per_s),
            pass_deadline: *pass_deadline,
            pass_messages: *pass_messages,
        })
    }

    /// Largest file that any binding may have.
    pub fn most_file_bytes(&self, ceiling: &LimitsTable) -> usize {
        self.file_bytes.max(ceiling.file_bytes.or(LimitsTable::ceiling().file_bytes).unwrap_or(0))
    }
}

impl LimitsTable {
    /// Up to where a binding may set its limits, if the operator says nothing.
    pub fn ceiling() -> Self {
        Self {
            deadline: Some(Duration::from_secs(1)),
            init_deadline: Some(Duration::from_secs(60)),
            store_deadline: Some(Duration::from_secs(60)),
            memory_bytes: Some(512 * MIB),
            table_elements: Some(1_000_000),
            stack_bytes: Some(MIB),
            hostcall_bytes: Some(64 * MIB),
            file_bytes: Some(64 * MIB),
            output_bytes: Some(16 * MIB),
            output_messages: Some(10_000),
            state_bytes: Some(1024 * MIB),
            log_lines_per_s: Some(10_000),
        }
    }
}

fn limit<T: Copy + Default + Ord + fmt::Debug>(
    name: &'static str,
    own: Option<T>,
    default: T,
    ceiling: Option<T>,
) -> Result<T, (&'static str, String)> {
    let Some(own) = own else { return Ok(default) };
    let most = ceiling.map_or(default, |ceiling| ceiling.max(default));
    if own == T::default() || own > most {
        return Err((
            name,
            format!(
                "limits.{name} = {own:?}: accepted is more than 0 and at most {most:?} (plugin_ceiling.{name} in weir.toml)"
            ),
        ));
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bindings_limits_stay_under_the_operators_ceiling() {
        let all = PluginLimits::default();
        let own = LimitsTable { memory_bytes: Some(64 * MIB), ..LimitsTable::default() };
        let mut ceiling = LimitsTable::default();
        assert_eq!(all.with(&own, &ceiling).unwrap().memory_bytes, 64 * MIB);
        ceiling.memory_bytes = Some(48 * MIB);
        let (name, why) = all.with(&own, &ceiling).unwrap_err();
        assert_eq!(name, "memory_bytes");
        assert!(
            why.contains("67108864") && why.contains("at most 50331648 (plugin_ceiling.memory_bytes"),
            "{why}"
        );
        // What all may have, each may.
        ceiling.memory_bytes = Some(MIB);
        let own = LimitsTable { memory_bytes: Some(32 * MIB), ..LimitsTable::default() };
        assert_eq!(all.with(&own, &ceiling).unwrap(), all);
        let none = LimitsTable { deadline: Some(Duration::ZERO), ..LimitsTable::default() };
        assert!(all.with(&none, &ceiling).unwrap_err().1.contains("more than 0"));
    }
}
