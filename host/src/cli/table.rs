//! Columns of text. What clients and deployers chose is escaped, so that no name can steer the terminal.

use crate::telemetry::escape;

/// Rows under a heading, each column as wide as its widest cell.
pub(super) fn table<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let heading = heading.map(str::to_owned);
    let rows: Vec<[String; N]> =
        std::iter::once(heading).chain(rows.into_iter().map(|row| row.map(|cell| escape(&cell)))).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Unix microseconds as `2026-11-21 08:00:00Z`.
pub(super) fn time(us: u64) -> String {
    let text = weir_contract::time::rfc3339(us);
    let seconds = text.split('.').next().unwrap_or_default();
    format!("{}Z", seconds.replace('T', " "))
}

/// A list of patterns, or `-`.
pub(super) fn list<T: AsRef<str>>(items: &[T]) -> String {
    if items.is_empty() {
        return "-".into();
    }
    items.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_stay_on_their_line() {
        let rows = [["ä".to_owned(), "x\ny".to_owned()], ["long".to_owned(), String::new()]];
        assert_eq!(table(["A", "B"], rows), "A     B\nä     x\\ny\nlong");
        assert_eq!(time(1_795_248_000_123_456), "2026-11-21 08:00:00Z");
        assert_eq!((list::<&str>(&[]), list(&["a", "b"])), ("-".into(), "a b".into()));
    }
}
