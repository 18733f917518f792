//! When each tablet was heard last.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::gateway::json::Object;
use crate::gateway::ws::frame;

/// Devices that are remembered; beyond it the one that was silent for longest is forgotten.
const MOST: usize = 1_024;
/// Bytes of a device's id or number; longer ones are not listed.
const NAME_BYTES: usize = 64;
/// So long a table serves all pages: it is large when there are many tablets.
const FRESH: Duration = Duration::from_secs(1);

/// The tablets that have been heard of since the router started.
#[derive(Debug)]
pub(super) struct Presence {
    connected: Duration,
    seen: Mutex<HashMap<Box<str>, Seen>>,
    /// The frame that was made last.
    made: Mutex<Option<(Instant, Bytes)>>,
}

#[derive(Debug)]
struct Seen {
    at: Instant,
    /// Its number, if it told it.
    number: Box<str>,
}

impl Presence {
    /// `connected`: how long after its last request a tablet counts as connected.
    pub(super) fn new(connected: Duration) -> Self {
        Self { connected, seen: Mutex::default(), made: Mutex::default() }
    }

    /// A device has asked for something.
    pub(super) fn heard(&self, device: &str) {
        self.note(device, None);
    }

    /// A device has told its tablet's number.
    pub(super) fn numbered(&self, device: &str, number: &str) {
        self.note(device, Some(number).filter(|number| number.len() <= NAME_BYTES));
    }

    fn note(&self, device: &str, number: Option<&str>) {
        if device.is_empty() || device.len() > NAME_BYTES {
            return;
        }
        let at = Instant::now();
        let mut seen = self.seen.lock();
        if let Some(known) = seen.get_mut(device) {
            known.at = at;
            if let Some(number) = number {
                known.number = number.into();
            }
            return;
        }
        if seen.len() >= MOST
            && let Some(oldest) =
                seen.iter().min_by_key(|(_, seen)| seen.at).map(|(device, _)| device.clone())
        {
            seen.remove(&oldest);
        }
        seen.insert(device.into(), Seen { at, number: number.unwrap_or_default().into() });
    }

    /// The frame for all pages, not older than a second.
    pub(super) fn frame(&self) -> Bytes {
        let mut made = self.made.lock();
        if let Some((_, frame)) = made.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return frame.clone();
        }
        let frame = frame::text(4 * 1024, |out| self.write(out));
        *made = Some((Instant::now(), frame.clone()));
        frame
    }

    /// `{"html":"<table>…"}`, in the order of the devices' ids.
    fn write(&self, out: &mut Vec<u8>) {
        let mut rows: Vec<(Box<str>, Box<str>, Duration)> = {
            let seen = self.seen.lock();
            seen.iter()
                .map(|(device, seen)| (device.clone(), seen.number.clone(), seen.at.elapsed()))
                .collect()
        };
        rows.sort();
        let mut html = String::from(
            "<table><tr><th>Tablet</th><th>Device</th><th>Connected</th><th>Last request</th></tr>",
        );
        for (device, number, ago) in rows {
            let connected = if ago < self.connected { "yes" } else { "no" };
            html += &format!(
                "<tr><td>{}</td><td>{}</td><td>{connected}</td><td>{} s ago</td></tr>",
                escaped(&number),
                escaped(&device),
                ago.as_secs()
            );
        }
        html += "</table>";
        let mut object = Object::begin(out);
        object.text("html", &html);
        object.end();
    }
}

/// A text that means itself in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(presence: &Presence) -> String {
        let mut out = Vec::new();
        presence.write(&mut out);
        let object: serde_json::Value = serde_json::from_slice(&out).unwrap();
        object["html"].as_str().unwrap().to_owned()
    }

    #[test]
    fn who_was_heard_lately_is_connected() {
        let presence = Presence::new(Duration::from_secs(3_600));
        assert!(shown(&presence).starts_with("<table>"));
        presence.heard("d<2>");
        presence.numbered("d1", "7");
        presence.heard("d1");
        presence.heard("");
        presence.heard(&"x".repeat(NAME_BYTES + 1));
        let html = shown(&presence);
        let row = |number: &str, device: &str| format!("<td>{number}</td><td>{device}</td><td>yes</td>");
        let (first, second) =
            (html.find(&row("7", "d1")).unwrap(), html.find(&row("", "d&lt;2&gt;")).unwrap());
        assert!(first < second && html.matches("<tr>").count() == 3, "{html}");
        let strict = Presence::new(Duration::ZERO);
        strict.heard("d");
        assert!(shown(&strict).contains("<td>no</td>"));
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let presence = Presence::new(Duration::from_secs(1));
        for device in 0..MOST + 3 {
            presence.heard(&device.to_string());
        }
        let seen = presence.seen.lock();
        assert_eq!((seen.len(), seen.contains_key("2"), seen.contains_key("3")), (MOST, false, true));
    }
}
