//! Server-sent events: the text of one event (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use bytes::Bytes;

use super::event;
use crate::gateway::json::Object;
use crate::gateway::ws::frame;
use crate::session::Notice;

/// Sent when there was nothing else to send for a while, so that neither proxies nor clients give up.
pub(super) const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// Stands behind the retained messages of a subscription: a comment, so that no client sees it.
pub(super) const RETAINED_SENT: Bytes = Bytes::from_static(b":retained\n\n");

/// Milliseconds after which a client comes back when the stream has ended.
const RETRY_MS: u16 = 1_000;

/// How every notice begins.
const BEGIN: &[u8] = br#"{"event":""#;

/// What is said first.
pub(super) fn opening(id: &str, write: impl FnOnce(&mut Object<'_>)) -> Bytes {
    let mut out = format!("retry: {RETRY_MS}\n").into_bytes();
    put_id(&mut out, id);
    put_event(&mut out, "subscribed", write);
    out.into()
}

/// The last event.
pub(super) fn close(out: &mut Vec<u8>, code: u16, reason: &str) {
    put_event(out, "close", |object| {
        object.number("code", code.into());
        object.text_if_any("reason", reason);
    });
}

/// A delivery: the frame that WebSocket readers get, of which the JSON is taken.
pub(super) fn put_delivery(out: &mut Vec<u8>, id: &str, frame: &Bytes) {
    put_id(out, id);
    put_data(out, frame::content(frame));
}

/// A notice, under its own name.
pub(super) fn notice(notice: Notice<'_>) -> Bytes {
    if notice == Notice::RetainedSent {
        return RETAINED_SENT;
    }
    let frame = event::notice(notice);
    let json = frame::content(&frame);
    let mut out = Vec::with_capacity(json.len() + 64);
    if let Some(name) = name(json) {
        put_name(&mut out, name);
    }
    put_data(&mut out, json);
    out.into()
}

/// Whether a notice that was written by [`notice`] has this name.
pub(super) fn is_named(notice: &Bytes, wanted: &str) -> bool {
    let name = notice.strip_prefix(b"event: ").and_then(|rest| rest.split(|byte| *byte == b'\n').next());
    name == Some(wanted.as_bytes())
}

fn name(json: &[u8]) -> Option<&str> {
    let name = json.strip_prefix(BEGIN)?.split(|byte| *byte == b'"').next()?;
    std::str::from_utf8(name).ok()
}

fn put_event(out: &mut Vec<u8>, name: &str, write: impl FnOnce(&mut Object<'_>)) {
    put_name(out, name);
    let mut json = Vec::with_capacity(128);
    let mut object = Object::begin(&mut json);
    write(&mut object);
    object.end();
    put_data(out, &json);
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
}

fn put_id(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(b"id: ");
    out.extend_from_slice(id.as_bytes());
    out.push(b'\n');
}

/// Data goes line by line. A payload in JSON goes out as it was published, and may have line ends between its
/// values (never within: there they are escaped), which clients put together again.
fn put_data(out: &mut Vec<u8>, json: &[u8]) {
    for line in json.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_in_a_payload_begin_no_event() {
        let frame = frame::text(0, |out| out.extend_from_slice(b"{\"data\":[1,\r\n2,\n\nevent]}"));
        let mut out = Vec::new();
        put_delivery(&mut out, "a:1:2", &frame);
        let text = "id: a:1:2\ndata: {\"data\":[1,\ndata: \ndata: 2,\ndata: \ndata: event]}\n\n";
        assert_eq!(std::str::from_utf8(&out).unwrap(), text);
    }

    #[test]
    fn notices_have_their_names() {
        let text = notice(Notice::Unsubscribed { pattern: "event\": \"x", reason: "no" });
        assert!(is_named(&text, "unsubscribed") && !is_named(&text, "unsub"));
        assert!(text.starts_with(b"event: unsubscribed\ndata: {\"event\":\"unsubscribed\","));
        assert!(text.ends_with(b"}\n\n"));
    }
}
