//! Tenants, users, rooms and endpoints as their users see them.

use std::sync::atomic::Ordering;

use super::tests::{Memory, open, sensor};
use super::*;

fn user(tenant: &str, name: &str) -> UserName {
    UserName { tenant: tenant.into(), name: name.into() }
}

fn new_user(name: &str, key: UserKey) -> NewUser {
    NewUser { name: user(MAIN, name), key }
}

fn room(owner: &str, name: &str) -> NewRoom {
    let name = RoomName::of(&user(MAIN, owner), name);
    NewRoom { name, webhook: String::new(), unique: Unique::Owner }
}

fn endpoint(owner: &str, room: &str) -> NewEndpoint {
    let room = RoomName::of(&user(MAIN, owner), room);
    NewEndpoint { room, code: None, permissions: "readwrite".into(), identity: "e1".into() }
}

fn error<T: std::fmt::Debug>(result: Result<T, AccountsError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn all_of_it_is_there_after_a_restart_and_gone_with_its_owner() {
    let memory = Memory::default();
    let accounts = open(&memory);
    let (key, info) = accounts.create_user(new_user("al/ice +", UserKey::Generated)).unwrap();
    assert_eq!((key.len(), key.starts_with("weir_user_"), info.rooms), (42, true, 0));
    accounts.create_room(room("al/ice +", "r/1%")).unwrap();
    accounts.create_room(room("al/ice +", "r2")).unwrap();
    let made = accounts.create_endpoint(endpoint("al/ice +", "r/1%")).unwrap();
    let other = accounts.create_endpoint(endpoint("al/ice +", "r/1%")).unwrap();
    assert_eq!(made.code.len(), 100);
    assert!(made.code.bytes().all(|byte| byte.is_ascii_alphanumeric()) && made.code != other.code);

    let accounts = open(&memory);
    let alice = accounts.user_of_key(key.as_bytes()).unwrap();
    assert_eq!(alice.name, user(MAIN, "al/ice +"));
    assert!(accounts.user_of_key(b"").is_none() && accounts.user_of_key(&key.as_bytes()[1..]).is_none());
    let rooms = accounts.rooms_of(&alice.name);
    assert_eq!(rooms.iter().map(|room| room.name.room.as_str()).collect::<Vec<_>>(), ["r/1%", "r2"]);
    assert_eq!(accounts.endpoint(&made.code).unwrap(), made);
    assert_eq!(accounts.endpoints_of(&rooms[0].name), [Arc::clone(&made), Arc::clone(&other)]);
    assert!(accounts.holds(&made.account()) && !accounts.holds("endpoint:") && !accounts.holds(&made.id));

    let mut departures = accounts.departures();
    let revision = accounts.revision();
    accounts.delete_endpoint(&other.code).unwrap();
    assert!(departures.has_changed().unwrap() && !accounts.holds(&other.account()));
    departures.borrow_and_update();
    assert_eq!(accounts.delete_user(&alice.name).unwrap().rooms, 2);
    assert!(departures.has_changed().unwrap() && !accounts.holds(&made.account()));
    assert_eq!(accounts.revision(), revision, "nobody else's permissions are asked for again");
    for accounts in [accounts, open(&memory)] {
        assert!(accounts.user_of_key(key.as_bytes()).is_none() && accounts.endpoint(&made.code).is_none());
        assert_eq!((accounts.users().len(), accounts.rooms().len(), accounts.endpoints().len()), (0, 0, 0));
    }
    assert!(memory.0.lock().is_empty(), "nothing stays on the disk");
}

#[test]
fn a_room_goes_with_its_endpoints_and_is_another_when_it_comes_back() {
    let accounts = open(&Memory::default());
    accounts.create_user(new_user("bob", UserKey::Absent)).unwrap();
    let made = accounts.create_room(room("bob", "r")).unwrap();
    assert_eq!(accounts.set_webhook(&made.name, "http://x/").unwrap().webhook, "http://x/");
    let old = accounts.create_endpoint(endpoint("bob", "r")).unwrap();
    assert_eq!(accounts.rooms()[0].endpoints, 1);
    accounts.delete_room(&made.name).unwrap();
    assert!(accounts.endpoint(&old.code).is_none() && accounts.room(&made.name).is_none());
    assert_eq!(accounts.create_room(room("bob", "r")).unwrap().webhook, "");
    let back = NewEndpoint { code: Some(old.code.clone()), ..endpoint("bob", "r") };
    let back = accounts.create_endpoint(back).unwrap();
    assert!(accounts.holds(&back.account()) && !accounts.holds(&old.account()), "ids are never reused");
}

#[test]
fn names_are_unique_per_owner_or_per_tenant() {
    let accounts = open(&Memory::default());
    accounts.create_tenant("lab").unwrap();
    accounts.create_user(new_user("alice", UserKey::Generated)).unwrap();
    accounts.create_user(new_user("bob", UserKey::Generated)).unwrap();
    let carol = user("lab", "alice");
    accounts.create_user(NewUser { name: carol.clone(), key: UserKey::Generated }).unwrap();
    accounts.create_room(room("alice", "r")).unwrap();
    accounts.create_room(room("bob", "r")).unwrap();
    assert_eq!(error(accounts.create_room(room("bob", "r"))), "the room \"r\" exists already");
    let everywhere = |new: NewRoom| NewRoom { unique: Unique::Tenant, ..new };
    accounts.create_room(room("alice", "s")).unwrap();
    assert_eq!(error(accounts.create_room(everywhere(room("bob", "s")))), "the room \"s\" exists already");
    let theirs = NewRoom { name: RoomName::of(&carol, "s"), ..room("", "") };
    accounts.create_room(everywhere(theirs)).unwrap();
    // What an underscore joined in the original stays apart.
    accounts.create_user(new_user("a_b", UserKey::Generated)).unwrap();
    accounts.create_user(new_user("a", UserKey::Generated)).unwrap();
    accounts.create_room(room("a_b", "c")).unwrap();
    accounts.create_room(room("a", "b_c")).unwrap();
    assert_eq!(accounts.rooms_of(&user(MAIN, "a")).len(), 1);
}

#[test]
fn no_two_users_have_the_same_key() {
    let memory = Memory::default();
    let accounts = open(&memory);
    let old = "an old deployment's key".replace(' ', "-");
    accounts.create_user(new_user("alice", UserKey::Chosen(old.clone()))).unwrap();
    let twice = "this API key is another user's: each user needs its own";
    assert_eq!(error(accounts.create_user(new_user("bob", UserKey::Chosen(old.clone())))), twice);
    accounts.create_user(new_user("default", UserKey::Absent)).unwrap();
    assert_eq!(error(accounts.create_user(new_user("bob", UserKey::Absent))), twice);
    assert_eq!(accounts.user_of_key(b"").unwrap().name.name, "default");
    let short = error(accounts.create_user(new_user("bob", UserKey::Chosen("short".into()))));
    assert!(short.starts_with("the API key has 5 bytes; at least 16"), "{short}");
    for bad in ["", "with blank", "ümlaut", &"x".repeat(257)] {
        assert!(accounts.create_user(new_user("bob", UserKey::Weak(bad.into()))).is_err(), "{bad}");
    }
    accounts.create_user(new_user("bob", UserKey::Weak("short".into()))).unwrap();
    // A new key takes the place of the old one, at once and after a restart.
    let (new, _) = accounts.replace_user_key(&user(MAIN, "alice"), &UserKey::Generated).unwrap();
    for accounts in [accounts, open(&memory)] {
        assert!(accounts.user_of_key(old.as_bytes()).is_none());
        assert_eq!(accounts.user_of_key(new.as_bytes()).unwrap().name.name, "alice");
    }
    let shown =
        format!("{:?}{:?}", UserKey::Weak("short".into()), new_user("x", UserKey::Chosen(old.clone())));
    assert!(!shown.contains("short") && !shown.contains(&old), "{shown}");
    let disk = memory.0.lock().values().flatten().copied().collect::<Vec<u8>>();
    assert!(!String::from_utf8_lossy(&disk).contains(&new));
}

#[test]
fn a_tenant_goes_only_when_nobody_belongs_to_it() {
    let memory = Memory::default();
    let accounts = open(&memory);
    assert_eq!(
        error(accounts.create_key(NewKey { tenant: Some("lab".into()), ..sensor() })),
        "there is no tenant \"lab\""
    );
    for bad in ["", "main", "Lab", "a/b", "$x", "-a", "rooms", "events", "+", &"x".repeat(64)] {
        let why = error(accounts.create_tenant(bad));
        assert!(why.contains("cannot be used; accepted are 1 to 63 of a-z 0-9 -"), "{why}");
    }
    let mut changes = accounts.changes();
    accounts.create_tenant("lab").unwrap();
    assert!(changes.has_changed().unwrap());
    changes.borrow_and_update();
    assert_eq!(error(accounts.create_tenant("lab")), "the tenant \"lab\" exists already");
    let (_, key) = accounts.create_key(NewKey { tenant: Some("lab".into()), ..sensor() }).unwrap();
    assert_eq!(key.tenant, "lab");
    let zoe = user("lab", "zoe");
    accounts.create_user(NewUser { name: zoe.clone(), key: UserKey::Generated }).unwrap();
    let used = error(open(&memory).delete_tenant("lab"));
    assert_eq!(
        used,
        "the tenant lab has 1 keys, 0 logins, 1 users, 0 rooms and 0 networks: take them back first"
    );
    accounts.revoke(&key.id).unwrap();
    accounts.delete_user(&zoe).unwrap();
    assert_eq!(error(accounts.delete_tenant(MAIN)), "the tenant main cannot be deleted");
    accounts.delete_tenant("lab").unwrap();
    assert!(changes.has_changed().unwrap() && !accounts.has_tenant("lab") && accounts.has_tenant(MAIN));
    assert_eq!(error(accounts.delete_tenant("lab")), "there is no tenant \"lab\"");
    let accounts = open(&memory);
    assert_eq!(accounts.tenants().len(), 1);
    // What it published may be there still.
    let kept = error(accounts.create_tenant("lab"));
    assert!(kept.starts_with("a tenant lab was deleted at 2"), "{kept}");
    assert!(accounts.create_user(NewUser { name: zoe, key: UserKey::Generated }).is_err());
    accounts.create_tenant_again("lab").unwrap();
    assert!(open(&memory).has_tenant("lab"));
}

#[test]
fn every_number_is_bounded() {
    let limits = AccountLimits {
        tenants: 1,
        logins: 2,
        users: 2,
        rooms: 3,
        rooms_per_user: 2,
        endpoints: 3,
        endpoints_per_room: 2,
        ..AccountLimits::default()
    };
    let accounts = open(&Memory::default()).limited(limits);
    let full = |setting: &str, why: String| assert!(why.contains(setting), "{setting}: {why}");
    accounts.create_tenant("a").unwrap();
    full("1 tenants already, which is the most (accounts.tenants)", error(accounts.create_tenant("b")));
    accounts.delete_tenant("a").unwrap();
    full("accounts.tenants", error(accounts.create_tenant("b")));
    accounts.create_tenant_again("a").unwrap();
    accounts.create_user(new_user("a", UserKey::Generated)).unwrap();
    accounts.create_user(new_user("b", UserKey::Generated)).unwrap();
    full("accounts.users", error(accounts.create_user(new_user("c", UserKey::Generated))));
    accounts.create_room(room("a", "1")).unwrap();
    accounts.create_room(room("a", "2")).unwrap();
    full("accounts.rooms_per_user", error(accounts.create_room(room("a", "3"))));
    accounts.create_room(room("b", "1")).unwrap();
    full("accounts.rooms)", error(accounts.create_room(room("b", "2"))));
    accounts.create_endpoint(endpoint("a", "1")).unwrap();
    accounts.create_endpoint(endpoint("a", "1")).unwrap();
    full("accounts.endpoints_per_room", error(accounts.create_endpoint(endpoint("a", "1"))));
    accounts.create_endpoint(endpoint("a", "2")).unwrap();
    full("accounts.endpoints)", error(accounts.create_endpoint(endpoint("a", "2"))));
    // Room that is made is room.
    accounts.delete_room(&RoomName::of(&user(MAIN, "a"), "1")).unwrap();
    accounts.create_endpoint(endpoint("a", "2")).unwrap();
}

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    let accounts = open(&Memory::default());
    accounts.create_user(new_user("a", UserKey::Generated)).unwrap();
    accounts.create_room(room("a", "r")).unwrap();
    let long = "x".repeat(129);
    assert!(
        error(accounts.create_user(new_user(&long, UserKey::Generated)))
            .starts_with("the user's name has 129")
    );
    assert!(
        error(accounts.create_room(room("a", "")))
            .starts_with("the room's name has 0 bytes; accepted are 1 to 128")
    );
    assert!(error(accounts.create_room(room("a", &"/".repeat(43)))).starts_with("the room's name has 129"));
    assert_eq!(error(accounts.create_room(room("nobody", "r"))), "there is no user \"nobody\"");
    let url = NewRoom { webhook: "x".repeat(2_049), ..room("a", "w") };
    assert!(error(accounts.create_room(url)).starts_with("the webhook's URL has 2049 bytes"));
    assert_eq!(error(accounts.create_endpoint(endpoint("a", "s"))), "there is no room \"s\"");
    let wide = |permissions: &str, identity: &str, code: Option<&str>| {
        let code = code.map(str::to_owned);
        accounts.create_endpoint(NewEndpoint {
            permissions: permissions.into(),
            identity: identity.into(),
            code,
            ..endpoint("a", "r")
        })
    };
    assert!(error(wide(&"x".repeat(257), "", None)).starts_with("the text of permissions has 257 bytes"));
    assert!(error(wide("read", &"x".repeat(257), None)).starts_with("the identity has 257 bytes"));
    for bad in ["", "a/b", "a-b", &"x".repeat(256)] {
        assert!(error(wide("read", "", Some(bad))).starts_with("the code cannot be used"), "{bad}");
    }
    wide("read", "", Some("Old_1")).unwrap();
    assert_eq!(error(wide("read", "", Some("Old_1"))), "this code is another endpoint's");
    let rights = |text: &str| {
        let made = wide(text, "", None).unwrap();
        (made.may_read(), made.may_write(), made.permissions.clone())
    };
    assert_eq!(rights("read_and_write"), (true, true, "readwrite".into()));
    assert_eq!(rights("may write"), (false, true, "may write".into()));
    assert_eq!(rights("nothing"), (false, false, "nothing".into()));
}

#[test]
fn without_a_disk_nothing_changes() {
    let memory = Memory::default();
    let accounts = open(&memory);
    let (key, _) = accounts.create_user(new_user("a", UserKey::Generated)).unwrap();
    accounts.create_room(room("a", "r")).unwrap();
    let made = accounts.create_endpoint(endpoint("a", "r")).unwrap();
    memory.1.store(true, Ordering::Relaxed);
    let refused = "the accounts cannot be stored: no space left";
    assert_eq!(error(accounts.create_tenant("lab")), refused);
    assert_eq!(error(accounts.create_user(new_user("b", UserKey::Generated))), refused);
    assert_eq!(error(accounts.replace_user_key(&user(MAIN, "a"), &UserKey::Generated)), refused);
    assert_eq!(error(accounts.create_room(room("a", "s"))), refused);
    assert_eq!(error(accounts.create_endpoint(endpoint("a", "r"))), refused);
    assert_eq!(error(accounts.delete_user(&user(MAIN, "a"))), refused);
    assert!(accounts.user_of_key(key.as_bytes()).is_some() && accounts.holds(&made.account()));
    assert_eq!((accounts.users().len(), accounts.rooms().len(), accounts.endpoints().len()), (1, 1, 1));
}

#[test]
fn a_damaged_record_costs_what_depends_on_it_only() {
    let memory = Memory::default();
    let accounts = open(&memory);
    for name in ["a", "b"] {
        accounts.create_user(new_user(name, UserKey::Generated)).unwrap();
        accounts.create_room(room(name, "r")).unwrap();
        accounts.create_endpoint(endpoint(name, "r")).unwrap();
    }
    memory.0.lock().insert(b"users/main/a".to_vec(), b"{".to_vec());
    let moved = memory.0.lock().get(&b"users/main/b"[..]).cloned().unwrap();
    memory.0.lock().insert(b"users/main/c".to_vec(), moved);
    let accounts = open(&memory);
    assert_eq!((accounts.users().len(), accounts.rooms().len(), accounts.endpoints().len()), (1, 1, 1));
    assert_eq!(accounts.rooms()[0].room.name.owner, "b");
}
