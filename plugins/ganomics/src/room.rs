//! A room: so many players of each type, and the period in which they are.

use serde::{Deserialize, Serialize};
use weir_plugin::{Key, Message, Result, Time, state};

use crate::ask::refusal;
use crate::user::User;
use crate::{Config, MOST_KEPT, MOST_PERIODS, MOST_PLAYERS, kept};

/// A room that was heard so lately is not noted again: what players say again and again costs no write.
const GRAIN_US: u64 = 1_000_000;

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
    /// When somebody in it said something, and when its game was over, in Unix microseconds.
    pub(crate) heard: u64,
    pub(crate) ended: Option<u64>,
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
    if !(1..=MOST_KEPT).contains(&config.rooms) {
        return Err(("rooms", format!("1 to {MOST_KEPT} are accepted")));
    }
    if !(1..=10 * MOST_KEPT).contains(&config.tablets) {
        return Err(("tablets", format!("1 to {} are accepted", 10 * MOST_KEPT)));
    }
    let lives = [
        ("room_idle_s", config.room_idle_s),
        ("room_kept_s", config.room_kept_s),
        ("tablet_kept_s", config.tablet_kept_s),
    ];
    if let Some((key, _)) = lives.into_iter().find(|(_, seconds)| *seconds == 0) {
        return Err((key, "1 or more are accepted".to_owned()));
    }
    if !periods.contains(&config.t_max) {
        return Err(("t_max", within));
    }
    if !periods.contains(&config.training_t_max) {
        return Err(("training_t_max", within));
    }
    Ok(())
}

impl Room {
    /// A new one. Its seed comes from the message: the same when the pass is run again.
    pub(crate) fn create(id: u64, config: &Config, message: &Message) -> Result<Self> {
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
            heard: message.received().micros(),
            ended: None,
        };
        room.save()?;
        Ok(room)
    }

    pub(crate) fn find(id: u64) -> Result<Option<Self>> {
        state::get_json(key(id))
    }

    pub(crate) fn load(id: u64) -> Result<Self> {
        Self::find(id)?.ok_or_else(|| refusal("", "there is no such room").into())
    }

    /// The room of a player who says something.
    pub(crate) fn heard(user: &User, at: Time) -> Result<Self> {
        let mut room = Self::load(user.room)?;
        room.hear(at)?;
        Ok(room)
    }

    /// Somebody in it says something.
    pub(crate) fn hear(&mut self, at: Time) -> Result<()> {
        if self.ended.is_none() && at.micros() >= self.heard.saturating_add(GRAIN_US) {
            self.heard = at.micros();
            self.save()?;
        }
        Ok(())
    }

    pub(crate) fn save(&self) -> Result<()> {
        kept::put(key(self.id), self)
    }

    /// Nobody in it has said anything for too long.
    pub(crate) fn is_idle(&self, config: &Config, at: Time) -> bool {
        self.heard.saturating_add(GRAIN_US).saturating_add(micros(config.room_idle_s)) <= at.micros()
    }

    /// Its game has been over for long enough.
    pub(crate) fn is_over(&self, config: &Config, at: Time) -> bool {
        self.ended.unwrap_or_default().saturating_add(micros(config.room_kept_s)) <= at.micros()
    }

    /// Forgets so many of its players, and itself when none is left: true.
    pub(crate) fn forget(&mut self, budget: &mut usize) -> Result<bool> {
        while *budget > 0
            && let Some(id) = self.players.pop()
        {
            *budget -= 1;
            User::forget(id)?;
        }
        if !self.players.is_empty() {
            self.save()?;
            return Ok(false);
        }
        state::delete(key(self.id))?;
        Ok(true)
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

fn micros(seconds: u64) -> u64 {
    seconds.saturating_mul(1_000_000)
}

fn key(id: u64) -> Key {
    Key::new("room").number(id)
}
