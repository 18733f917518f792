//! A subscription over WebSocket or as server-sent events, which may end at any moment.

use serde_json::{Value, json};

use super::follow::Follower;
use super::kept::{LOGS, places_json};
use crate::harness::{Client, Events, Reach};

/// A connection that has one subscription.
pub(super) enum Stream {
    Socket(Client),
    Events(Events),
}

impl Stream {
    /// Goes on where the follower stopped; with what the router says first. None: it is gone.
    pub(super) async fn open(follower: &Follower, reach: &Reach) -> Option<(Self, Value)> {
        if follower.by_events {
            Self::events(follower, reach).await
        } else {
            Self::socket(follower, reach).await
        }
    }

    async fn socket(follower: &Follower, reach: &Reach) -> Option<(Self, Value)> {
        let mut client =
            match Client::try_connect(reach.http, &format!("?client_id={}", follower.name), &[]).await {
                Ok(client) => client,
                Err(status) => {
                    assert_eq!(status, 0, "{} was refused", follower.name);
                    return None;
                }
            };
        let since = places_json(&follower.places);
        let frame =
            json!({"action": "subscribe", "id": "s", "topic": follower.pattern.as_str(), "since": since});
        if !client.send(&frame).await {
            return None;
        }
        let answer = client.try_next().await?;
        assert_eq!(answer["id"], "s", "the answer comes before the first delivery: {answer}");
        Some((Self::Socket(client), answer))
    }

    async fn events(follower: &Follower, reach: &Reach) -> Option<(Self, Value)> {
        let pattern = follower.pattern.as_str().replace('#', "%23").replace('+', "%2B");
        let query = format!("?topic={pattern}&client_id={}&since=start", follower.name);
        let seen = LOGS.iter().zip(&follower.places).filter_map(|(log, place)| Some((log, (*place)?)));
        let id: Vec<String> = seen.map(|(log, (epoch, offset))| format!("{log}:{epoch}:{offset}")).collect();
        let header = [("last-event-id", &*id.join(","))];
        // An empty header is no id.
        let mut events = Events::try_open(reach.http, &query, &header).await?;
        let first = events.try_next().await?;
        assert_eq!(first.name, "subscribed", "{first:?}");
        Some((Self::Events(events), first.data))
    }

    /// What comes next, and its id if it has one. None: the router is gone.
    pub(super) async fn next(&mut self) -> Option<(Value, Option<String>)> {
        match self {
            Self::Socket(client) => Some((client.try_next().await?, None)),
            Self::Events(events) => {
                let event = events.try_next().await?;
                (event.name != "close").then_some((event.data, event.id))
            }
        }
    }
}
