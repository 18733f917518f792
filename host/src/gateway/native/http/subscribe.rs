//! `GET /v1/subscribe`: a connection that only listens.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::response::Response;

use super::super::keys::Key;
use super::super::request::Fault;
use super::super::{answer, fields, router::App, sse};
use super::feed::{Feed, Ids, parse_id};
use super::{Parameters, bad_request, enter, given, known, once, parameter, status};
use crate::gateway::lease::Lease;
use crate::gateway::tcp::Watch;
use crate::gateway::{json, reply};
use crate::ingress::{Subscribe, Subscribed};
use crate::message::{Outcome, Places, Since};

/// Asks nginx, which would hold events back, not to.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Answers with a stream of events that ends with the session.
pub(in super::super) async fn subscribe(
    State(app): State<App>,
    Extension(lease): Extension<Lease>,
    Extension(watch): Extension<Watch>,
    request: Request,
) -> Response {
    let last_event_id = last_event_id(&request);
    let (visit, parameters) = match enter(&app, &request, Some(sse::notice)).await {
        Ok(entered) => entered,
        Err(refusal) => return refusal,
    };
    let (topics, subscribe) = match asked(&parameters, last_event_id.as_deref()) {
        Ok(asked) => asked,
        Err(fault) => return bad_request(&fault),
    };
    let mut all = Vec::with_capacity(topics.len());
    for topic in &topics {
        let subscribe = Subscribe { pattern: topic.clone(), ..subscribe.clone() };
        match visit.ingress().subscribe(visit.session(), subscribe).await {
            Ok(subscribed) => all.push(subscribed),
            Err(outcome) => return refused(&outcome, topic),
        }
    }
    let whole = Whole::of(&all, subscribe.since);
    let opening = sse::opening(whole.ids.text(), |object| {
        object.flag("ok", true);
        json::put_array(object.key("topics"), &topics, |out, topic| json::put_text(out, topic));
        answer::put_places(object, "places", &whole.places);
        if let Some(recovered) = whole.recovered {
            answer::put_recovered(object, recovered, &whole.oldest);
        }
    });
    let feed = Feed::new(visit, (lease, watch), whole.ids, opening);
    // What begins in the past begins now: the stream has its opening.
    drop(all);
    let mut response = Response::new(feed.into_body());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

fn refused(outcome: &Outcome, topic: &str) -> Response {
    let body = answer::body(|object| answer::outcome(object, outcome));
    reply::json(status::of_reading(outcome, topic), body)
}

/// The patterns, each once, and how they are subscribed to.
fn asked(parameters: &Parameters, last_event_id: Option<&str>) -> Result<(Vec<String>, Subscribe), Fault> {
    known(parameters, &["topic", "since", "retained"])?;
    once(parameters.iter().filter(|(name, _)| name != "topic"))?;
    let mut topics: Vec<String> = Vec::new();
    for (_, topic) in parameters.iter().filter(|(name, _)| name == "topic") {
        if !topics.contains(topic) {
            topics.push(topic.clone());
        }
    }
    if topics.is_empty() {
        return Err(Fault::new("the query parameter `topic` is missing: one or more are accepted".into()));
    }
    let mut retained = fields::check_choice(Key::Retained, given(parameters, "retained"))?;
    let since = match last_event_id.map(parse_id) {
        Some((places, unsent)) => {
            if unsent {
                retained = Some(true);
            }
            fields::check_since(Some(places)).map_err(|fault| {
                Fault::new(format!("`Last-Event-ID` is no id that was given: {}", fault.reason))
            })?
        }
        None => fields::check_since(parameter(parameters, "since"))?,
    };
    Ok((topics, Subscribe { since, retained, ..Subscribe::default() }))
}

/// The id of the last event that a client has seen before, if it says so.
fn last_event_id(request: &Request) -> Option<String> {
    let id = request.headers().get(LAST_EVENT_ID)?;
    Some(String::from_utf8_lossy(id.as_bytes()).into_owned()).filter(|id| !id.is_empty())
}

/// What several subscriptions are together.
struct Whole {
    places: Places,
    recovered: Option<bool>,
    oldest: Places,
    ids: Ids,
}

impl Whole {
    fn of(all: &[Subscribed], since: Option<Since>) -> Self {
        let (mut places, mut oldest) = (Places::default(), Places::default());
        for subscribed in all {
            earliest(&mut places, &subscribed.places);
            earliest(&mut oldest, &subscribed.oldest);
        }
        // Logs of which nothing comes are remembered for the next time.
        let mut seen = match since {
            Some(Since::Places(since)) => since,
            _ => Places::default(),
        };
        // What is read from the oldest message on was not seen, or the next connection would begin there again.
        seen.0.retain(|log, _| !oldest.0.contains_key(log));
        for (log, place) in &places.0 {
            seen.saw(log, place.0, place.1);
        }
        let replays: Vec<bool> = all.iter().filter_map(|subscribed| subscribed.recovered).collect();
        let unsent = all.iter().filter(|subscribed| subscribed.retained).count();
        let recovered = (!replays.is_empty()).then(|| replays.iter().all(|recovered| *recovered));
        Self { places, recovered, oldest, ids: Ids::new(seen, replays.len(), unsent) }
    }
}

/// Of each log the place that comes first: what is behind it for one subscription may be before it for another.
fn earliest(places: &mut Places, more: &Places) {
    for (log, place) in &more.0 {
        let known = places.0.entry(log.clone()).or_insert(*place);
        *known = (*known).min(*place);
    }
}
