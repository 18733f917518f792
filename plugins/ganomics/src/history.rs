//! What a player wanted in each period that is over, and what came of it: three letters a period, so that a game of a
//! thousand periods takes little room.

use serde::{Deserialize, Serialize};
use weir_plugin::{Key, Result, state};

use crate::kept;

/// Letters of a period: the good in hand, the one that was wanted (`a` is the first), and the result.
const LETTERS: usize = 3;

/// Which of the two series of periods.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Table {
    Game,
    Training,
}

/// What came of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) success: bool,
    /// Behind it.
    pub(crate) score: u64,
}

/// A player's periods, from the first on.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct History {
    game: String,
    training: String,
}

impl History {
    pub(crate) fn load(user: u64) -> Result<Self> {
        Ok(state::get_json(key(user))?.unwrap_or_default())
    }

    pub(crate) fn save(&self, user: u64) -> Result<()> {
        kept::put(key(user), self)
    }

    pub(crate) fn forget(user: u64) -> Result<()> {
        Ok(state::delete(key(user))?)
    }

    /// The next period is over. `result`: the exchange succeeded, and it scored.
    pub(crate) fn add(&mut self, table: Table, hand: u32, desired: u32, result: (bool, bool)) {
        let letter = |good| char::from_u32(u32::from('a') + good).unwrap_or('?');
        let result = match result {
            (false, _) => '0',
            (true, false) => '1',
            (true, true) => '2',
        };
        let periods = match table {
            Table::Game => &mut self.game,
            Table::Training => &mut self.training,
        };
        periods.extend([letter(hand), letter(desired), result]);
    }

    /// None: the period is not over.
    pub(crate) fn at(&self, table: Table, t: u32) -> Option<Past> {
        let periods = match table {
            Table::Game => &self.game,
            Table::Training => &self.training,
        };
        let results = periods.as_bytes().chunks_exact(LETTERS).filter_map(|period| period.last());
        let (mut score, mut last) = (0, None);
        for (at, result) in results.enumerate().take(t as usize + 1) {
            score += u64::from(*result == b'2');
            last = Some((at, *result != b'0'));
        }
        last.filter(|(at, _)| *at == t as usize).map(|(_, success)| Past { success, score })
    }
}

fn key(user: u64) -> Key {
    Key::new("history").number(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_period_has_its_result_and_the_score_behind_it() {
        let mut history = History::default();
        for result in [(false, false), (true, true), (true, false), (true, true)] {
            history.add(Table::Game, 0, 19, result);
        }
        assert_eq!(history.game, "at0at2at1at2");
        let past = |t| history.at(Table::Game, t).map(|past| (past.success, past.score));
        assert_eq!([past(0), past(1), past(2)], [Some((false, 0)), Some((true, 1)), Some((true, 1))]);
        assert_eq!([past(3), past(4), past(u32::MAX - 1)], [Some((true, 2)), None, None]);
        assert_eq!(history.at(Table::Training, 0), None);
    }
}
