//! The table: one row per sender.

use std::collections::BTreeMap;

use super::{Arrival, Body, Histogram, Look};

/// Rows of the table; senders beyond that are not shown.
const ROWS: usize = 30;
/// Longest name that is shown whole.
const NAME_WIDTH: usize = 12;
const BOLD: u8 = 1;
const DIM: u8 = 2;
const GREEN: u8 = 32;

const HEAD: [&str; 14] = [
    "sender", "msgs", "load", "cpu %", "mem used", "of", "net in", "out", "unit", "every", "lamp", "command",
    "p50 ms", "p99 ms",
];

/// All senders that were heard of.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<String, Row>);

#[derive(Debug, Default)]
struct Row {
    messages: u64,
    latest: Body,
    latency: Histogram,
    confirmed: Option<u64>,
    refused: Option<String>,
}

impl Table {
    /// Takes in a message.
    pub(super) fn take(&mut self, arrival: &Arrival<'_>) {
        if !self.0.contains_key(arrival.sender) && self.0.len() == ROWS {
            return;
        }
        let row = self.0.entry(arrival.sender.to_owned()).or_default();
        row.messages += 1;
        if let Some(us) = arrival.latency_us {
            row.latency.add(us);
        }
        if let Some(command) = arrival.body.command {
            row.confirmed = Some(command);
            row.refused = arrival.body.refused.clone();
        } else {
            row.latest = arrival.body.clone();
        }
    }

    /// As text, with a line of status above.
    pub(super) fn lines(&self, status: &str, look: Look) -> Vec<String> {
        let mut lines = Vec::with_capacity(self.0.len() + 2);
        if !status.is_empty() {
            lines.push(status.to_owned());
        }
        if self.0.is_empty() {
            lines.push("nothing has come in yet".to_owned());
            return lines;
        }
        lines.push(look.paint(BOLD, &line(HEAD)));
        lines.extend(self.0.iter().map(|(name, row)| row.line(name, look)));
        lines
    }
}

impl Row {
    fn line(&self, name: &str, look: Look) -> String {
        let body = &self.latest;
        let unit = body.unit.as_deref().unwrap_or("B");
        let every = body.interval_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
        let lamp = match body.lamp {
            Some(true) => look.paint(GREEN, " ●  "),
            Some(false) => look.paint(DIM, " ○  "),
            None => " -  ".to_owned(),
        };
        let commanded = match (self.confirmed, &self.refused) {
            (Some(command), Some(_)) => format!("#{command} no"),
            (Some(command), None) => format!("#{command} ok"),
            (None, _) => "-".to_owned(),
        };
        line([
            &printable(name, NAME_WIDTH),
            &self.messages.to_string(),
            &number(body.load),
            &number(body.cpu_percent),
            &number(body.memory_used),
            &number(body.memory_total),
            &number(body.received),
            &number(body.sent),
            &printable(unit, 4),
            &every,
            &lamp,
            &commanded,
            &milliseconds(self.latency.quantile(0.5)),
            &milliseconds(self.latency.quantile(0.99)),
        ])
    }
}

/// Cells in their columns. The lamp is padded by itself: colours take no room, but formatting counts them.
fn line(
    [name, messages, load, cpu, used, of, r#in, out, unit, every, lamp, command, p50, p99]: [&str; 14],
) -> String {
    format!(
        "{name:<NAME_WIDTH$}{messages:>7}{load:>6}{cpu:>6}{used:>9}{of:>7}{in:>7}{out:>7} {unit:<4}{every:>7} {lamp} \
         {command:<9}{p50:>7}{p99:>7}"
    )
}

fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() < 100.0 => format!("{value:.2}"),
        Some(value) if value.abs() < 100_000.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.1e}"),
    }
}

fn milliseconds(us: Option<u64>) -> String {
    us.map_or_else(|| "-".to_owned(), |us| format!("{:.2}", us as f64 / 1_000.0))
}

/// What came from outside must not steer the terminal.
fn printable(text: &str, width: usize) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { live: false, colour: false };

    fn body(text: &str) -> Body {
        serde_json::from_str(text).unwrap()
    }

    fn take(table: &mut Table, sender: &str, body: &Body) {
        let data = &serde_json::Value::Null;
        table.take(&Arrival { topic: "page/x", sender, latency_us: Some(1_520), body, data });
    }

    #[test]
    fn a_row_tells_the_latest_reading_and_the_latest_command() {
        let mut table = Table::default();
        let text = r#"{"seq":1,"load":0.52,"memory_used":2048.4,"unit":"MiB","interval_ms":50,"lamp":true}"#;
        take(&mut table, "device-1", &body(text));
        take(&mut table, "device-1", &body(r#"{"seq":2,"command":3}"#));
        let lines = table.lines("status", PLAIN);
        assert_eq!((lines[0].as_str(), lines.len()), ("status", 3));
        let cells: Vec<&str> = lines[2].split_ascii_whitespace().collect();
        assert_eq!(
            cells,
            [
                "device-1", "2", "0.52", "-", "2048", "-", "-", "-", "MiB", "50", "ms", "●", "#3", "ok",
                "1.52", "1.52"
            ]
        );
        assert_eq!(lines[1].chars().count(), lines[2].chars().count());
    }

    #[test]
    fn names_cannot_steer_the_terminal_and_rows_are_bounded() {
        let mut table = Table::default();
        take(&mut table, "\x1b[2J", &body("{}"));
        assert!(!table.lines("", PLAIN).concat().contains('\x1b'));
        for number in 0..1_000 {
            take(&mut table, &format!("s{number}"), &body("{}"));
        }
        assert_eq!(table.lines("", PLAIN).len(), ROWS + 1);
    }

    #[test]
    fn an_empty_table_says_so() {
        assert_eq!(Table::default().lines("", PLAIN), ["nothing has come in yet"]);
    }
}
