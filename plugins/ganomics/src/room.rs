//! A room: so many players of each type, and the period in which they are.

use serde::{Deserialize, Serialize};
use weir_plugin::{Key, Message, Result, state};

use crate::ask::refusal;
use crate::user::User;
use crate::{Config, MOST_PERIODS, MOST_PLAYERS};

/// The key of the open room's number.
const OPEN: &str = "open";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Room {
    pub(crate) id: u64,
    /// Of players, and so of goods.
    pub(crate) types: u32,
    /// Players that it needs.
    pub(crate) size: u32,
    pub(crate) t: u32,
    pub(crate) t_max: u32,
    pub(crate) training_t_max: u32,
    /// For all lots that are drawn in it.
    pub(crate) seed: u64,
    /// Users in the order in which they came.
    pub(crate) players: Vec<u64>,
}

/// What a room may be like; the error is a key and what is accepted.
pub(crate) fn check(config: &Config) -> Result<(), (&'static str, String)> {
    let periods = 1..=MOST_PERIODS;
    if !(2..=20).contains(&config.types) {
        return Err(("types", "2 to 20 are accepted".to_owned()));
    }
    if !(1..=MOST_PLAYERS / config.types).contains(&config.players_per_type) {
        let reason = format!("1 or more are accepted, and {MOST_PLAYERS} players in all");
        return Err(("players_per_type", reason));
    }
    let within = format!("1 to {MOST_PERIODS} are accepted");
    if !periods.contains(&config.t_max) {
        return Err(("t_max", within));
    }
    if !periods.contains(&config.training_t_max) {
        return Err(("training_t_max", within));
    }
    Ok(())
}

impl Room {
    /// The one that is open.
    pub(crate) fn open() -> Result<Option<Self>> {
        match state::get_json(OPEN)? {
            Some(id) => Self::load(id).map(Some),
            None => Ok(None),
        }
    }

    /// Opens one. Its seed comes from the message: the same when the pass is run again.
    pub(crate) fn create(config: &Config, message: &Message) -> Result<Self> {
        let id = state::increment("rooms", 1)?.unsigned_abs();
        let fold = |seed: u64, byte: &u8| (seed ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        let room = Self {
            id,
            types: config.types,
            size: config.types * config.players_per_type,
            t: 0,
            t_max: config.t_max,
            training_t_max: config.training_t_max,
            seed: message.id().bytes().iter().fold(0xcbf2_9ce4_8422_2325, fold),
            players: Vec::new(),
        };
        room.save()?;
        state::set_json(OPEN, &id)?;
        Ok(room)
    }

    pub(crate) fn load(id: u64) -> Result<Self> {
        state::get_json(key(id))?.ok_or_else(|| refusal("", "there is no such room").into())
    }

    pub(crate) fn save(&self) -> Result<()> {
        state::set_json(key(self.id), self)
    }

    /// The game in it is over.
    pub(crate) fn close(&self) -> Result<()> {
        if state::get_json(OPEN)? == Some(self.id) {
            state::delete(OPEN)?;
        }
        Ok(())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.players.len() >= self.size as usize
    }

    /// All who are in it.
    pub(crate) fn users(&self) -> Result<Vec<User>> {
        self.players.iter().map(|id| User::load(*id)).collect()
    }

    /// Rounded percent of the players that it needs.
    pub(crate) fn progress(&self, done: usize) -> u64 {
        let size = u64::from(self.size);
        (done as u64 * 200 + size) / (2 * size)
    }
}

fn key(id: u64) -> Key {
    Key::new("room").number(id)
}
