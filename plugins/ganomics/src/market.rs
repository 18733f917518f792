//! The end of a period: who exchanges with whom.

use std::collections::BTreeMap;

use weir_plugin::{Result, Time};

use crate::book::Book;
use crate::history::{History, Past, Table};
use crate::lots::Lots;
use crate::room::Room;
use crate::user::{Step, User};

/// What a player gives and wants.
#[derive(Debug, Clone, Copy)]
struct Offer {
    hand: u32,
    desired: u32,
}

/// Lets the players of a room exchange, once all have chosen, and begins the next period. Returns what came of it, player
/// by player.
pub(crate) fn settle(room: &mut Room, users: &mut [User], at: Time) -> Result<Vec<Past>> {
    let offer = |user: &User| Offer { hand: user.game.hand, desired: user.wants.unwrap_or(user.game.hand) };
    let offers: Vec<Offer> = users.iter().map(offer).collect();
    let exchanged = pairs(room, &offers);
    room.t += 1;
    let over = room.t >= room.t_max;
    let mut results = Vec::with_capacity(users.len());
    for (place, (user, offer)) in users.iter_mut().zip(&offers).enumerate() {
        let mut history = History::load(user.id)?;
        results.push(user.exchange(Table::Game, offer.desired, exchanged.contains(&place), &mut history));
        history.save(user.id)?;
        user.wants = None;
        if over {
            user.step = Step::End;
        }
        user.save()?;
    }
    room.ended = over.then_some(at.micros());
    room.save()?;
    if over {
        Book::finish(room)?;
    }
    Ok(results)
}

/// Those, by position, whose exchange succeeds. Of two crowds that want each other's good, all of the smaller one and as
/// many of the other, by lot.
fn pairs(room: &Room, offers: &[Offer]) -> Vec<usize> {
    let mut crowds: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
    for (at, offer) in offers.iter().enumerate() {
        crowds.entry((offer.hand, offer.desired)).or_default().push(at);
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

    fn offer((hand, desired): (u32, u32)) -> Offer {
        Offer { hand, desired }
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
            heard: 0,
            ended: None,
        };
        let wants = [(0, 1), (1, 0), (0, 1), (2, 1), (1, 2), (2, 0), (0, 1)].map(offer);
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
