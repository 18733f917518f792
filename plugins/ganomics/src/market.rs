//! The end of a period: who exchanges with whom.

use std::collections::BTreeMap;

use weir_plugin::Result;

use crate::lots::Lots;
use crate::room::Room;
use crate::user::{Choice, Step, Table, User};

/// Lets the players of a room exchange, once all have chosen, and begins the next period.
pub(crate) fn settle(room: &mut Room, users: &mut [User], choices: &mut [Choice]) -> Result<()> {
    let exchanged = pairs(room, choices);
    room.t += 1;
    let over = room.t >= room.t_max;
    for (at, (user, choice)) in users.iter_mut().zip(choices).enumerate() {
        user.exchange(Table::Game, choice, exchanged.contains(&at));
        if over {
            user.step = Step::End;
        }
        choice.save(Table::Game, user.id, room.t - 1)?;
        user.save()?;
    }
    room.save()?;
    if over { room.close() } else { Ok(()) }
}

/// Those, by position, whose exchange succeeds. Of two crowds that want each other's good, all of the smaller one and as
/// many of the other, by lot.
fn pairs(room: &Room, choices: &[Choice]) -> Vec<usize> {
    let mut crowds: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
    for (at, choice) in choices.iter().enumerate() {
        crowds.entry((choice.hand, choice.desired)).or_default().push(at);
    }
    let mut lots = Lots::of(room.seed, &[u64::from(room.t)]);
    let mut exchanged = Vec::new();
    let halves: Vec<(u32, u32)> = crowds.keys().copied().filter(|(hand, desired)| hand < desired).collect();
    for (hand, desired) in halves {
        let mut one = crowds.remove(&(hand, desired)).unwrap_or_default();
        let mut other = crowds.remove(&(desired, hand)).unwrap_or_default();
        lots.shuffle(&mut one);
        lots.shuffle(&mut other);
        for (a, b) in one.into_iter().zip(other) {
            exchanged.extend([a, b]);
        }
    }
    exchanged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice((hand, desired): (u32, u32)) -> Choice {
        Choice { hand, desired, success: None, score: 0 }
    }

    #[test]
    fn who_wants_each_others_good_exchanges_as_far_as_they_go() {
        let room = |seed, t| Room {
            id: 1,
            types: 3,
            size: 9,
            t,
            t_max: 9,
            training_t_max: 9,
            seed,
            players: Vec::new(),
        };
        let wants = [(0, 1), (1, 0), (0, 1), (2, 1), (1, 2), (2, 0), (0, 1)].map(choice);
        let mut winners = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let done = pairs(&room(seed, 3), &wants);
            assert_eq!(done, pairs(&room(seed, 3), &wants), "the same again");
            assert_eq!(done.len(), 4);
            assert!(done.contains(&1) && done.contains(&3) && done.contains(&4) && !done.contains(&5));
            winners.extend(done);
        }
        assert_eq!(winners.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 6], "everybody has a chance");
    }
}
