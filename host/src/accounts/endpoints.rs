//! Endpoints of rooms: whoever has the code of one may connect to its room.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::text::check_text;
use super::{Accounts, AccountsError, RoomName, codes};
use crate::message::now_us;

/// Letters of a code that the router makes: 595 bits.
const CODE_CHARS: usize = 100;
/// Longest code that may be brought along.
const CODE_BYTES: usize = 255;
/// Letters of an id.
const ID_CHARS: usize = 12;
/// Longest permissions and identity, as clients give them.
const TEXT_BYTES: usize = 256;

/// What the account id of a session that rests on an endpoint begins with.
pub(super) const ACCOUNT_PREFIX: &str = "endpoint:";

/// What an endpoint shall be.
#[derive(Clone)]
pub struct NewEndpoint {
    /// An existing room.
    pub room: RoomName,
    /// 1 to 255 of `A-Za-z0-9_`, not taken yet; none = 100 random ones.
    pub code: Option<String>,
    /// At most 256 bytes: what contains `read` may read, what contains `write` may write.
    pub permissions: String,
    /// Stands on every message; at most 256 bytes.
    pub identity: String,
}

/// An endpoint.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Names it where its code must not stand: in logs, and in what plugins see. Never reused.
    pub id: String,
    /// The credential.
    pub code: String,
    /// Where it leads.
    #[serde(flatten)]
    pub room: RoomName,
    /// As the client gave it, but for `read_and_write`, which is `readwrite`.
    pub permissions: String,
    /// Stands on every message.
    pub identity: String,
    /// Unix microseconds.
    pub created_us: u64,
}

/// What is shown of an endpoint, its code included: that is what lists are for.
pub type EndpointInfo = Endpoint;

impl Endpoint {
    /// Whether it hears its room.
    pub fn may_read(&self) -> bool {
        self.permissions.contains("read")
    }

    /// Whether it is heard in its room.
    pub fn may_write(&self) -> bool {
        self.permissions.contains("write")
    }

    /// What a session that rests on it names as its account, see [`Accounts::holds`].
    pub fn account(&self) -> String {
        format!("{ACCOUNT_PREFIX}{}", self.id)
    }
}

impl Accounts {
    /// Makes an endpoint. Blocks until it is on disk.
    pub fn create_endpoint(&self, new: NewEndpoint) -> Result<Arc<Endpoint>, AccountsError> {
        let accepted = "accepted are up to 256 without NUL";
        check_text("the text of permissions", &new.permissions, TEXT_BYTES, accepted)?;
        check_text("the identity", &new.identity, TEXT_BYTES, accepted)?;
        let code = match new.code {
            Some(code) => check_code(code)?,
            None => codes::random(CODE_CHARS)?,
        };
        let permissions = match new.permissions.as_str() {
            "read_and_write" => "readwrite".to_owned(),
            _ => new.permissions,
        };
        let _changing = self.changing.lock();
        self.endpoint_for(&new.room, &code)?;
        let endpoint = Endpoint {
            id: codes::random(ID_CHARS)?,
            code,
            room: new.room,
            permissions,
            identity: new.identity,
            created_us: now_us(),
        };
        let code = endpoint.code.clone();
        let kept = Kept::Endpoint(endpoint);
        self.apply(&[kept.set()?])?;
        let mut directory = self.directory.write();
        directory.insert(kept).map_err(AccountsError::Orphan)?;
        directory.endpoints.get(&code).cloned().ok_or_else(|| AccountsError::unknown("endpoint", ""))
    }

    /// Whether an endpoint of this code may be made now.
    fn endpoint_for(&self, room: &RoomName, code: &str) -> Result<(), AccountsError> {
        let (most, most_of_one) = (self.limits.endpoints, self.limits.endpoints_per_room);
        let directory = self.directory.read();
        let Some(of_room) = directory.endpoint_count(room) else {
            return Err(AccountsError::unknown("room", &room.room));
        };
        if directory.endpoints.contains_key(code) {
            return Err(AccountsError::CodeTaken);
        }
        if directory.endpoints.len() >= most {
            return Err(AccountsError::Limit { what: "endpoints", most, setting: "accounts.endpoints" });
        }
        if of_room >= most_of_one {
            let (what, setting) = ("endpoints of one room", "accounts.endpoints_per_room");
            return Err(AccountsError::Limit { what, most: most_of_one, setting });
        }
        Ok(())
    }

    /// The endpoint of this code. Codes that the router makes have 595 bits: how long this takes tells nobody
    /// enough of one.
    pub fn endpoint(&self, code: &str) -> Option<Arc<Endpoint>> {
        self.directory.read().endpoints.get(code).cloned()
    }

    /// The endpoint of this id.
    pub fn endpoint_of_id(&self, id: &str) -> Option<Arc<Endpoint>> {
        self.directory.read().endpoint_of_id(id)
    }

    /// The endpoints of a room, oldest first.
    pub fn endpoints_of(&self, room: &RoomName) -> Vec<Arc<Endpoint>> {
        self.directory.read().endpoints_of(room)
    }

    /// All endpoints, by room, oldest first.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let directory = self.directory.read();
        directory.rooms.keys().flat_map(|room| directory.endpoints_of(room)).collect()
    }

    /// Deletes an endpoint. Blocks until it is on disk.
    pub fn delete_endpoint(&self, code: &str) -> Result<Arc<Endpoint>, AccountsError> {
        let _changing = self.changing.lock();
        let endpoint =
            self.endpoint(code).ok_or_else(|| AccountsError::unknown("endpoint", "of this code"))?;
        self.remove(&[Kept::Endpoint(Endpoint::clone(&endpoint))])?;
        Ok(endpoint)
    }
}

fn check_code(code: String) -> Result<String, AccountsError> {
    let plain = code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain && (1..=CODE_BYTES).contains(&code.len()) { Ok(code) } else { Err(AccountsError::Code) }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = out.debug_struct("Endpoint");
        shown.field("id", &self.id).field("room", &self.room).field("permissions", &self.permissions);
        shown.field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for NewEndpoint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("NewEndpoint").field("room", &self.room).finish_non_exhaustive()
    }
}
