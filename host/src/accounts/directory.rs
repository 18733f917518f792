//! Tenants, users, rooms and endpoints in memory, with what finds them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::kept::Kept;
use super::{Endpoint, MAIN, Room, RoomInfo, RoomName, Tenant, User, UserInfo, UserName};

/// All of them. Whatever is owned has an owner.
#[derive(Default)]
pub(super) struct Directory {
    /// But for `main`.
    pub(super) tenants: BTreeMap<String, Tenant>,
    /// Those that are not there any more.
    pub(super) deleted_tenants: BTreeMap<String, Tenant>,
    pub(super) users: BTreeMap<UserName, Arc<User>>,
    /// By the hash of their keys.
    pub(super) by_key: HashMap<[u8; 32], UserName>,
    pub(super) rooms: BTreeMap<RoomName, RoomEntry>,
    /// By code.
    pub(super) endpoints: HashMap<String, Arc<Endpoint>>,
    /// Codes by id.
    ids: HashMap<String, String>,
}

/// A room and what belongs to it.
pub(super) struct RoomEntry {
    room: Arc<Room>,
    /// (Created, code).
    endpoints: BTreeSet<(u64, String)>,
}

/// A record whose owner is not there.
#[derive(Debug, thiserror::Error)]
#[error("its {0} is not there, or its key or code is another's")]
pub struct Orphan(&'static str);

impl Directory {
    /// Adds or replaces; what belongs to it stays.
    pub(super) fn insert(&mut self, kept: Kept) -> Result<(), Orphan> {
        match kept {
            Kept::Tenant(tenant) => {
                self.tenants.remove(&tenant.name);
                self.deleted_tenants.remove(&tenant.name);
                let all =
                    if tenant.deleted_us.is_none() { &mut self.tenants } else { &mut self.deleted_tenants };
                all.insert(tenant.name.clone(), tenant);
            }
            Kept::User(user) => {
                let tenant = &user.name.tenant;
                let other = self.by_key.get(&user.sha256).is_some_and(|name| *name != user.name);
                if other || (tenant != MAIN && !self.tenants.contains_key(tenant)) {
                    return Err(Orphan("tenant"));
                }
                if let Some(before) = self.users.get(&user.name) {
                    self.by_key.remove(&before.sha256);
                }
                self.by_key.insert(user.sha256, user.name.clone());
                self.users.insert(user.name.clone(), Arc::new(user));
            }
            Kept::Room(room) => {
                if !self.users.contains_key(&room.name.owner()) {
                    return Err(Orphan("user"));
                }
                let room = Arc::new(room);
                let new = || RoomEntry { room: Arc::clone(&room), endpoints: BTreeSet::new() };
                self.rooms.entry(room.name.clone()).or_insert_with(new).room = Arc::clone(&room);
            }
            Kept::Endpoint(endpoint) => {
                let entry = self.rooms.get_mut(&endpoint.room).ok_or(Orphan("room"))?;
                entry.endpoints.insert((endpoint.created_us, endpoint.code.clone()));
                self.ids.insert(endpoint.id.clone(), endpoint.code.clone());
                self.endpoints.insert(endpoint.code.clone(), Arc::new(endpoint));
            }
        }
        Ok(())
    }

    /// Forgets one; what belongs to it must be forgotten before.
    pub(super) fn remove(&mut self, kept: &Kept) {
        match kept {
            Kept::Tenant(tenant) => drop(self.tenants.remove(&tenant.name)),
            Kept::User(user) => {
                self.by_key.remove(&user.sha256);
                self.users.remove(&user.name);
            }
            Kept::Room(room) => drop(self.rooms.remove(&room.name)),
            Kept::Endpoint(endpoint) => {
                if let Some(entry) = self.rooms.get_mut(&endpoint.room) {
                    entry.endpoints.remove(&(endpoint.created_us, endpoint.code.clone()));
                }
                self.ids.remove(&endpoint.id);
                self.endpoints.remove(&endpoint.code);
            }
        }
    }

    /// How many users and rooms a tenant has.
    pub(super) fn belongings(&self, tenant: &str) -> (usize, usize) {
        let users = self.users.keys().filter(|name| name.tenant == tenant).count();
        (users, self.rooms.keys().filter(|name| name.tenant == tenant).count())
    }

    pub(super) fn user_info(&self, name: &UserName) -> Option<UserInfo> {
        let user = self.users.get(name)?;
        let rooms = self.entries_of(name).count();
        Some(UserInfo { name: name.clone(), key_kind: user.key, rooms, created_us: user.created_us })
    }

    pub(super) fn room(&self, name: &RoomName) -> Option<Arc<Room>> {
        self.rooms.get(name).map(|entry| Arc::clone(&entry.room))
    }

    pub(super) fn rooms_of(&self, owner: &UserName) -> Vec<Arc<Room>> {
        self.entries_of(owner).map(|entry| Arc::clone(&entry.room)).collect()
    }

    fn entries_of(&self, owner: &UserName) -> impl Iterator<Item = &RoomEntry> {
        // No name is empty: the first room comes after this.
        let rooms = self.rooms.range(RoomName::of(owner, "")..);
        let (tenant, owner) = (owner.tenant.clone(), owner.name.clone());
        rooms
            .take_while(move |(name, _)| name.tenant == tenant && name.owner == owner)
            .map(|(_, entry)| entry)
    }

    pub(super) fn room_infos(&self) -> Vec<RoomInfo> {
        let info =
            |entry: &RoomEntry| RoomInfo { room: Room::clone(&entry.room), endpoints: entry.endpoints.len() };
        self.rooms.values().map(info).collect()
    }

    /// None: there is no such room.
    pub(super) fn endpoint_count(&self, room: &RoomName) -> Option<usize> {
        self.rooms.get(room).map(|entry| entry.endpoints.len())
    }

    pub(super) fn endpoints_of(&self, room: &RoomName) -> Vec<Arc<Endpoint>> {
        let codes = self.rooms.get(room).into_iter().flat_map(|entry| &entry.endpoints);
        codes.filter_map(|(_, code)| self.endpoints.get(code).cloned()).collect()
    }

    pub(super) fn has_endpoint_id(&self, id: &str) -> bool {
        self.ids.contains_key(id)
    }

    pub(super) fn endpoint_of_id(&self, id: &str) -> Option<Arc<Endpoint>> {
        self.endpoints.get(self.ids.get(id)?).cloned()
    }

    /// A room after all of its endpoints, as they are to be removed.
    pub(super) fn with_endpoints(&self, room: &Arc<Room>) -> Vec<Kept> {
        let endpoints = self.endpoints_of(&room.name);
        let endpoints = endpoints.iter().map(|endpoint| Kept::Endpoint(Endpoint::clone(endpoint)));
        endpoints.chain(std::iter::once(Kept::Room(Room::clone(room)))).collect()
    }
}
