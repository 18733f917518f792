//! Writing, and room for it: a part of the state's quota is held in reserve. A write that finds the state full has the
//! reserve, and the oldest games and tablets pay it back: so nobody is locked out by what is over.

use serde::Serialize;
use weir_plugin::state::StateError;
use weir_plugin::{Key, Result, Time, serde_json, state, warn};

use crate::book::Book;
use crate::tablet::Roll;

/// Far more than one demand makes the state grow.
const RESERVE: [u8; 16 * 1024] = [0; 16 * 1024];
/// The key of the reserve, and of a small pair that stands as long as it does.
const HELD: [&str; 2] = ["reserve", "reserved"];
/// Players, or tablets, that go at a time to make room for it, and how often in one demand.
const FORGOTTEN: usize = 10;
const STEPS: usize = 5;
/// Between two lines of one kind.
const HOUR_US: u64 = 3_600_000_000;

/// Writes a pair, if need be at the cost of the reserve.
pub(crate) fn put(key: impl AsRef<[u8]>, value: &impl Serialize) -> Result<()> {
    let value = serde_json::to_vec(value)?;
    match state::set(&key, &value) {
        Err(StateError::Quota(_)) if release()? => Ok(state::set(&key, &value)?),
        other => Ok(other?),
    }
}

/// Gives the reserve up; false: there was none.
fn release() -> Result<bool> {
    let held = state::get(HELD[1])?.is_some();
    for key in HELD {
        state::delete(key)?;
    }
    Ok(held)
}

/// Puts the reserve back, if it is gone: before anything else, so that a demand meets a state with room in it.
pub(crate) fn restore(at: Time) -> Result<()> {
    if state::get(HELD[1])?.is_some() {
        return Ok(());
    }
    for step in 0..=STEPS {
        match state::set(HELD[1], []).and_then(|()| state::set(HELD[0], RESERVE)) {
            Ok(()) => return Ok(()),
            Err(StateError::Quota(_)) => state::delete(HELD[1])?,
            Err(other) => return Err(other.into()),
        }
        if hourly("full", at)? {
            warn!("the state is full: the oldest games and tablets are forgotten before their time");
        }
        if step == STEPS || !(Book::forget_some(FORGOTTEN)? || Roll::forget_some(FORGOTTEN)?) {
            break;
        }
    }
    Ok(())
}

/// Whether a line of this kind may be written: nobody outside shall fill the log.
pub(crate) fn hourly(kind: &str, at: Time) -> Result<bool> {
    let key = Key::new("said").text(kind);
    let last: u64 = state::get_json(&key)?.unwrap_or_default();
    let due = last == 0 || at.micros() >= last.saturating_add(HOUR_US);
    if due {
        // Without room for the note the line is written all the same.
        let _ = state::set(&key, at.micros().to_string());
    }
    Ok(due)
}
