//! A player, and what it has chosen.

use serde::{Deserialize, Serialize};
use weir_plugin::{Key, Result, state};

use crate::ask::{Ask, refusal};
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
}

/// What a player has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Purse {
    pub(crate) hand: u32,
    pub(crate) score: u64,
}

/// What a player wanted in a period, and what came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Choice {
    pub(crate) hand: u32,
    pub(crate) desired: u32,
    /// None: not all have chosen.
    pub(crate) success: Option<bool>,
    /// Behind it.
    pub(crate) score: u64,
}

/// Which of the two series of choices.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Table {
    Game,
    Training,
}

impl Choice {
    pub(crate) fn load(table: Table, user: u64, t: u32) -> Result<Option<Self>> {
        state::get_json(key(table, user, t))
    }

    pub(crate) fn save(&self, table: Table, user: u64, t: u32) -> Result<()> {
        state::set_json(key(table, user, t), self)
    }

    /// As a tablet reads it.
    pub(crate) fn success(&self) -> serde_json::Value {
        self.success.map_or_else(|| NONE.into(), Into::into)
    }
}

fn key(table: Table, user: u64, t: u32) -> Key {
    let name = match table {
        Table::Game => "choice",
        Table::Training => "training",
    };
    Key::new(name).number(user).number(u64::from(t))
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
        state::set_json(place(self.id), self)
    }

    /// The user of a device in a room.
    pub(crate) fn of_device(room: &Room, device: &str) -> Result<Option<Self>> {
        match state::get_json(seat(room, device))? {
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
            pseudo: if number < PSEUDONYMS.len() { (*name).to_owned() } else { format!("{name} {number}") },
            step: Step::Welcome,
            production,
            consumption: (production + if newest { 1 } else { types - 1 }) % types,
            age: None,
            sex: String::new(),
            game: Purse { hand: production, score: 0 },
            training: Purse { hand: production, score: 0 },
            training_t: 0,
        };
        state::set_json(seat(room, device), &id)?;
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

    /// An exchange went well or not; returns the score.
    pub(crate) fn exchange(&mut self, table: Table, choice: &mut Choice, success: bool) {
        let (production, consumption) = (self.production, self.consumption);
        let purse = match table {
            Table::Game => &mut self.game,
            Table::Training => &mut self.training,
        };
        if success && choice.desired == consumption {
            purse.score += 1;
            purse.hand = production;
        } else if success {
            purse.hand = choice.desired;
        }
        choice.success = Some(success);
        choice.score = purse.score;
    }
}

fn place(id: u64) -> Key {
    Key::new("user").number(id)
}

fn seat(room: &Room, device: &str) -> Key {
    Key::new("device").number(room.id).text(device)
}
