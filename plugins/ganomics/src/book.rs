//! Which rooms stand: the open one, and finished ones until their time is over. At most one room is open at a time, so
//! they end in the order of their numbers, and the oldest is found without looking at the others.

use serde::{Deserialize, Serialize};
use weir_plugin::{Message, Result, Time, debug, info, state};

use crate::room::Room;
use crate::{Config, kept};

const BOOK: &str = "book";
/// Players that one demand forgets at most, each of them three pairs: a room's, and some more.
const FORGOTTEN: usize = 220;
/// Numbers of rooms that are gone and that one demand passes over.
const PASSED: usize = 64;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Book {
    /// The number of the room that was opened last; 0: none ever was.
    last: u64,
    /// No room before this one stands.
    oldest: u64,
    /// How many rooms stand.
    standing: u64,
    open: Option<u64>,
}

impl Book {
    pub(crate) fn load() -> Result<Self> {
        Ok(state::get_json(BOOK)?.unwrap_or_default())
    }

    fn save(&self) -> Result<()> {
        kept::put(BOOK, self)
    }

    /// The room that is open.
    pub(crate) fn open(&self) -> Result<Option<Room>> {
        self.open.map(Room::load).transpose()
    }

    /// Opens one.
    pub(crate) fn enter(config: &Config, message: &Message) -> Result<Room> {
        let mut book = Self::load()?;
        book.last += 1;
        book.standing += 1;
        book.open = Some(book.last);
        let room = Room::create(book.last, config, message)?;
        book.save()?;
        Ok(room)
    }

    /// The game of a room is over: what came of it stays for a while.
    pub(crate) fn finish(room: &Room) -> Result<()> {
        let mut book = Self::load()?;
        if book.open == Some(room.id) {
            book.open = None;
            book.save()?;
        }
        Ok(())
    }

    /// Closes the open room before its game is over: it goes with all that is its own. None: none is open.
    pub(crate) fn close() -> Result<Option<Room>> {
        let mut book = Self::load()?;
        let Some(mut room) = book.open()? else { return Ok(None) };
        book.give_up(&mut room)?;
        book.save()?;
        Ok(Some(room))
    }

    fn give_up(&mut self, room: &mut Room) -> Result<()> {
        info!("a room is closed before its game is over", room = room.id, t = room.t);
        room.forget(&mut room.players.len())?;
        self.open = None;
        self.standing = self.standing.saturating_sub(1);
        Ok(())
    }

    /// Forgets what has had its time, as much as one demand may. Returns the room that was closed since nobody said
    /// anything in it; only where another may be opened in its place (`opens`).
    pub(crate) fn tidy(config: &Config, at: Time, opens: bool) -> Result<Option<Room>> {
        let before = Self::load()?;
        let mut book = before.clone();
        let mut budget = FORGOTTEN;
        let mut idle = book.open()?.filter(|room| opens && room.is_idle(config, at));
        if let Some(room) = &mut idle {
            budget = budget.saturating_sub(room.players.len());
            book.give_up(room)?;
        }
        while budget > 0
            && let Some(room) = book.oldest()?
        {
            let finished = book.standing.saturating_sub(u64::from(book.open.is_some()));
            let crowded = finished > u64::from(config.rooms);
            if !crowded && !room.is_over(config, at) {
                break;
            }
            if crowded && kept::hourly("rooms", at)? {
                info!(
                    "the oldest games are forgotten before their time: `rooms` are kept",
                    rooms = config.rooms
                );
            }
            book.forget_oldest(&mut budget)?;
        }
        if book != before {
            book.save()?;
        }
        Ok(idle)
    }

    /// The oldest finished room.
    fn oldest(&mut self) -> Result<Option<Room>> {
        for _ in 0..PASSED {
            if self.oldest > self.last || self.open == Some(self.oldest) {
                break;
            }
            if let Some(room) = Room::find(self.oldest)? {
                return Ok(Some(room));
            }
            self.oldest += 1;
        }
        Ok(None)
    }

    /// Forgets so many players of the oldest finished room, whatever its time. False: there is none.
    pub(crate) fn forget_some(mut most: usize) -> Result<bool> {
        let mut book = Self::load()?;
        let forgets = book.forget_oldest(&mut most)?;
        if forgets {
            book.save()?;
        }
        Ok(forgets)
    }

    fn forget_oldest(&mut self, budget: &mut usize) -> Result<bool> {
        let Some(mut room) = self.oldest()? else { return Ok(false) };
        if room.forget(budget)? {
            debug!("a finished game is forgotten", room = room.id);
            self.standing = self.standing.saturating_sub(1);
            self.oldest += 1;
        }
        Ok(true)
    }
}
