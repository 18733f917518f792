//! Rooms: each is a user's, and has endpoints.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::text::{check_level, check_text};
use super::{Accounts, AccountsError, UserName};
use crate::message::now_us;

/// Longest URL of a webhook.
const WEBHOOK_BYTES: usize = 2_048;

/// Whose a room is, and its name: unique together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoomName {
    /// The owner's tenant.
    pub tenant: String,
    /// The owner's name.
    pub owner: String,
    /// Any text that makes 1 to 128 bytes as one topic level.
    pub room: String,
}

impl RoomName {
    /// A user's room.
    pub fn of(owner: &UserName, room: &str) -> Self {
        Self { tenant: owner.tenant.clone(), owner: owner.name.clone(), room: room.to_owned() }
    }

    /// Whose it is.
    pub fn owner(&self) -> UserName {
        UserName { tenant: self.tenant.clone(), name: self.owner.clone() }
    }
}

/// Among whose rooms a new one's name must be unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    /// Its owner's.
    Owner,
    /// Those of all users of its tenant.
    Tenant,
}

/// What a room shall be.
#[derive(Clone, Debug)]
pub struct NewRoom {
    /// Its owner must exist.
    pub name: RoomName,
    /// URL that its messages are posted to; empty = none. At most 2048 bytes, not looked at further.
    pub webhook: String,
    /// Whose rooms may not have this name.
    pub unique: Unique,
}

/// A room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Whose, and its name.
    #[serde(flatten)]
    pub name: RoomName,
    /// URL that its messages are posted to; empty = none.
    pub webhook: String,
    /// Unix microseconds.
    pub created_us: u64,
}

/// What may be shown of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomInfo {
    /// The room.
    #[serde(flatten)]
    pub room: Room,
    /// How many endpoints it has.
    pub endpoints: usize,
}

impl Accounts {
    /// Makes a room. Blocks until it is on disk.
    pub fn create_room(&self, new: NewRoom) -> Result<Arc<Room>, AccountsError> {
        check_level("the room's name", &new.name.room)?;
        check_webhook(&new.webhook)?;
        let _changing = self.changing.lock();
        self.room_for(&new)?;
        let room = Room { name: new.name, webhook: new.webhook, created_us: now_us() };
        self.keep_room(room)
    }

    /// Whether the room may be made now.
    fn room_for(&self, new: &NewRoom) -> Result<(), AccountsError> {
        let (most, most_of_one) = (self.limits.rooms, self.limits.rooms_per_user);
        let directory = self.directory.read();
        let owner = new.name.owner();
        if !directory.users.contains_key(&owner) {
            return Err(AccountsError::unknown("user", &owner.name));
        }
        let of_owner = directory.rooms_of(&owner);
        let taken = match new.unique {
            Unique::Owner => directory.rooms.contains_key(&new.name),
            Unique::Tenant => {
                directory.rooms.keys().any(|name| name.tenant == owner.tenant && name.room == new.name.room)
            }
        };
        if taken {
            return Err(AccountsError::Exists { what: "room", name: new.name.room.clone() });
        }
        if directory.rooms.len() >= most {
            return Err(AccountsError::Limit { what: "rooms", most, setting: "accounts.rooms" });
        }
        if of_owner.len() >= most_of_one {
            let (what, setting) = ("rooms of one user", "accounts.rooms_per_user");
            return Err(AccountsError::Limit { what, most: most_of_one, setting });
        }
        Ok(())
    }

    /// Sets where a room's messages are posted; empty = nowhere. Blocks until it is on disk.
    pub fn set_webhook(&self, name: &RoomName, url: &str) -> Result<Arc<Room>, AccountsError> {
        check_webhook(url)?;
        let _changing = self.changing.lock();
        let room = self.room(name).ok_or_else(|| AccountsError::unknown("room", &name.room))?;
        self.keep_room(Room { webhook: url.to_owned(), ..Room::clone(&room) })
    }

    fn keep_room(&self, room: Room) -> Result<Arc<Room>, AccountsError> {
        let name = room.name.clone();
        let kept = Kept::Room(room);
        self.apply(&[kept.set()?])?;
        let mut directory = self.directory.write();
        directory.insert(kept).map_err(AccountsError::Orphan)?;
        directory.room(&name).ok_or_else(|| AccountsError::unknown("room", &name.room))
    }

    /// The room of this name.
    pub fn room(&self, name: &RoomName) -> Option<Arc<Room>> {
        self.directory.read().room(name)
    }

    /// A user's rooms, oldest first.
    pub fn rooms_of(&self, owner: &UserName) -> Vec<Arc<Room>> {
        let mut rooms = self.directory.read().rooms_of(owner);
        rooms.sort_by_key(|room| room.created_us);
        rooms
    }

    /// All rooms, by tenant, owner and name.
    pub fn rooms(&self) -> Vec<RoomInfo> {
        self.directory.read().room_infos()
    }

    /// Deletes a room with its endpoints, in one step. Blocks until it is on disk.
    pub fn delete_room(&self, name: &RoomName) -> Result<Arc<Room>, AccountsError> {
        let _changing = self.changing.lock();
        let (room, gone) = {
            let directory = self.directory.read();
            let room = directory.room(name).ok_or_else(|| AccountsError::unknown("room", &name.room))?;
            let gone = directory.with_endpoints(&room);
            (room, gone)
        };
        self.remove(&gone)?;
        Ok(room)
    }
}

fn check_webhook(url: &str) -> Result<(), AccountsError> {
    check_text("the webhook's URL", url, WEBHOOK_BYTES, "accepted are up to 2048 without NUL")
}
