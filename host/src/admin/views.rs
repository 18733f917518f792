//! What runs now: plugins, connections, subscriptions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::json;
use weir_contract::topic::Pattern;

use super::AdminState;
use crate::consumer::RebuildReport;
use crate::plugin::{Kind, PluginInfo, PluginState};

/// One line of `weir subscription list`.
#[derive(Clone, Debug, Serialize)]
pub struct SubscriptionInfo {
    /// What is subscribed to.
    pub pattern: Arc<str>,
    /// Session id.
    pub connection: Arc<str>,
    /// Principal's name.
    pub name: Arc<str>,
    /// Principal's origin.
    pub origin: Arc<str>,
    /// Gateway.
    pub gateway: &'static str,
}

/// What is known of a binding, and of the rebuilding of its data.
#[derive(Serialize)]
struct PluginLine<'a> {
    #[serde(flatten)]
    plugin: PluginInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    rebuild: Option<&'a RebuildReport>,
}

pub(super) async fn plugins(State(state): State<Arc<AdminState>>) -> impl IntoResponse {
    let rebuilds = state.rebuilds.rebuilds();
    let with_rebuild = |mut plugin: PluginInfo| {
        if plugin.reason.is_none() && stores_nothing(&state, &plugin) {
            plugin.reason = Some("its topics meet no log: it stores nothing".to_owned());
        }
        PluginLine { rebuild: rebuilds.get(&plugin.name), plugin }
    };
    let plugins: Vec<_> = state.plugins.list().into_iter().map(with_rebuild).collect();
    Json(json!({"plugins": plugins}))
}

fn stores_nothing(state: &AdminState, plugin: &PluginInfo) -> bool {
    let topics: Vec<_> = plugin.topics.iter().filter_map(|topic| Pattern::parse(topic).ok()).collect();
    plugin.kind == Kind::Storage.as_str()
        && plugin.state == PluginState::Active
        && state.sequencer.meet(&topics).is_empty()
}

pub(super) async fn connections(State(state): State<Arc<AdminState>>) -> impl IntoResponse {
    Json(json!({"connections": state.sessions.list()}))
}

pub(super) async fn subscriptions(State(state): State<Arc<AdminState>>) -> impl IntoResponse {
    let mut all: Vec<SubscriptionInfo> = Vec::new();
    for connection in state.sessions.list() {
        all.extend(connection.subscriptions.into_iter().map(|pattern| SubscriptionInfo {
            pattern,
            connection: Arc::clone(&connection.id),
            name: Arc::clone(&connection.name),
            origin: Arc::clone(&connection.origin),
            gateway: connection.gateway,
        }));
    }
    all.sort_by(|a, b| (&a.pattern, &a.connection).cmp(&(&b.pattern, &b.connection)));
    Json(json!({"subscriptions": all}))
}
