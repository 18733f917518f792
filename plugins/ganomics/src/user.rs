//! A player, and what it has.

use serde::{Deserialize, Serialize};
use weir_plugin::{Key, Result, state};

use crate::ask::{Ask, refusal};
use crate::history::{History, Past, Table};
use crate::kept;
use crate::room::Room;

/// Stands for none, where a tablet expects a number.
pub(crate) const NONE: i64 = -2;

const PSEUDONYMS: [&str; 20] = [
    "Ada", "Basil", "Clio", "Dora", "Emil", "Flora", "Gil", "Hera", "Igor", "Juno", "Kai", "Luna", "Milo",
    "Nora", "Otto", "Pia", "Quim", "Rhea", "Sol", "Tess",
];

/// Where a player stands; in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Step {
    Welcome,
    Survey,
    Training,
    Game,
    End,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) room: u64,
    pub(crate) device: String,
    pub(crate) pseudo: String,
    pub(crate) step: Step,
    pub(crate) production: u32,
    pub(crate) consumption: u32,
    pub(crate) age: Option<u64>,
    pub(crate) sex: String,
    pub(crate) game: Purse,
    pub(crate) training: Purse,
    /// The training's next period.
    pub(crate) training_t: u32,
    /// The good that it wants in the game's period; none: it has not chosen.
    pub(crate) wants: Option<u32>,
}

/// What a player has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Purse {
    pub(crate) hand: u32,
    pub(crate) score: u64,
}

impl User {
    /// Whoever the demand names.
    pub(crate) fn asking(ask: &Ask) -> Result<Self> {
        Self::load(ask.wanted("userId")?)
    }

    pub(crate) fn load(id: u64) -> Result<Self> {
        let unknown = || refusal("userId", "there is no such user: send init first").into();
        state::get_json(place(id))?.ok_or_else(unknown)
    }

    pub(crate) fn save(&self) -> Result<()> {
        kept::put(place(self.id), self)
    }

    /// The user of a device in a room.
    pub(crate) fn of_device(room: &Room, device: &str) -> Result<Option<Self>> {
        match state::get_json(seat(room.id, device))? {
            Some(id) => Self::load(id).map(Some),
            None => Ok(None),
        }
    }

    /// Seats a device. `newest`: it consumes the good behind its own, and not the one before.
    pub(crate) fn create(room: &mut Room, device: &str, newest: bool) -> Result<Self> {
        let id = state::increment("users", 1)?.unsigned_abs();
        let number = room.players.len();
        let types = room.types;
        // Types fill one after the other, as in the original.
        let production = u32::try_from(number).unwrap_or_default() / (room.size / types);
        let name = PSEUDONYMS.get(number % PSEUDONYMS.len()).unwrap_or(&"Ada");
        let user = Self {
            id,
            room: room.id,
            device: device.to_owned(),
            pseudo: if number < PSEUDONYMS.len() { (*name).to_owned() } else { format!("{name} {number}") },
            step: Step::Welcome,
            production,
            consumption: (production + if newest { 1 } else { types - 1 }) % types,
            age: None,
            sex: String::new(),
            game: Purse { hand: production, score: 0 },
            training: Purse { hand: production, score: 0 },
            training_t: 0,
            wants: None,
        };
        kept::put(seat(room.id, device), &id)?;
        room.players.push(id);
        room.save()?;
        user.save()?;
        Ok(user)
    }

    /// A good as this player sees it: 0 = what it makes, 1 = what it consumes, then the others in order.
    pub(crate) fn seen(&self, good: u32) -> i64 {
        if good == self.production {
            return 0;
        }
        if good == self.consumption {
            return 1;
        }
        let before = [self.production, self.consumption].iter().filter(|own| **own < good).count();
        i64::from(good) + 2 - i64::try_from(before).unwrap_or_default()
    }

    /// The good that the demand names.
    pub(crate) fn good(&self, ask: &Ask, room: &Room) -> Result<u32> {
        let seen = i64::try_from(ask.wanted("good")?).unwrap_or(i64::MAX);
        let found = (0..room.types).find(|good| self.seen(*good) == seen);
        found.ok_or_else(|| refusal("good", format!("0 to {} are accepted", room.types - 1)).into())
    }

    /// The wish of a period comes true or not.
    pub(crate) fn exchange(
        &mut self,
        table: Table,
        desired: u32,
        success: bool,
        history: &mut History,
    ) -> Past {
        let (production, consumption) = (self.production, self.consumption);
        let purse = match table {
            Table::Game => &mut self.game,
            Table::Training => &mut self.training,
        };
        let hand = purse.hand;
        let scores = success && desired == consumption;
        if scores {
            purse.score += 1;
            purse.hand = production;
        } else if success {
            purse.hand = desired;
        }
        history.add(table, hand, desired, (success, scores));
        Past { success, score: purse.score }
    }

    /// All that is its own goes.
    pub(crate) fn forget(id: u64) -> Result<()> {
        if let Some(user) = state::get_json::<Self>(place(id))? {
            state::delete(seat(user.room, &user.device))?;
            state::delete(place(id))?;
            History::forget(id)?;
        }
        Ok(())
    }
}

fn place(id: u64) -> Key {
    Key::new("user").number(id)
}

fn seat(room: u64, device: &str) -> Key {
    Key::new("device").number(room).text(device)
}
