//! Keys as their users see them.

use std::collections::BTreeMap;

use super::*;
use crate::message::now_us;

/// A table whose disk can be taken away.
#[derive(Clone, Default)]
pub(super) struct Memory(
    pub(super) Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>,
    pub(super) Arc<std::sync::atomic::AtomicBool>,
);

impl Records for Memory {
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.lock().iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn save(&self, key: &[u8], value: &[u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.1.load(std::sync::atomic::Ordering::Relaxed) {
            return Err("no space left".into());
        }
        self.0.lock().insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn apply(&self, changes: &[Change]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.1.load(std::sync::atomic::Ordering::Relaxed) {
            return Err("no space left".into());
        }
        let mut kept = self.0.lock();
        for (key, value) in changes.iter().cloned() {
            match value {
                Some(value) => drop(kept.insert(key, value)),
                None => drop(kept.remove(&key)),
            }
        }
        Ok(())
    }
}

pub(super) fn open(memory: &Memory) -> Accounts {
    Accounts::open(Box::new(memory.clone())).unwrap()
}

pub(super) fn sensor() -> NewKey {
    NewKey {
        name: "dev-7".into(),
        tenant: None,
        origin: "sensor".into(),
        publish: vec!["measurements/{principal}".into()],
        subscribe: vec!["configurations/{principal}/#".into()],
        attributes: vec![("site".into(), "north".into())],
        expires_us: None,
    }
}

#[test]
fn a_key_works_until_it_is_revoked_and_survives_a_restart() {
    let memory = Memory::default();
    let accounts = open(&memory);
    let (text, info) = accounts.create_key(sensor()).unwrap();
    assert_eq!(text.len(), 5 + 10 + 1 + 32);
    assert!(text.starts_with(&format!("weir_{}_", info.id)));
    let account = accounts.verify(text.as_bytes()).unwrap();
    assert_eq!((account.name.as_str(), account.tenant.as_str()), ("dev-7", "main"));
    assert_eq!(accounts.lookup(KEYS, &info.id).as_deref(), Some(&*account));
    assert!(accounts.lookup("users", &info.id).is_none());

    let accounts = open(&memory);
    assert_eq!(accounts.verify(text.as_bytes()).as_deref(), Some(&*account));
    let revoked = accounts.revoke(&info.id).unwrap();
    assert_eq!(revoked.state, KeyState::Revoked);
    assert!(accounts.verify(text.as_bytes()).is_none() && accounts.lookup(KEYS, &info.id).is_none());
    assert_eq!(accounts.revoke(&info.id).unwrap().revoked_us, revoked.revoked_us, "twice is once");
    assert!(open(&memory).verify(text.as_bytes()).is_none());
    assert_eq!(open(&memory).list(), [revoked]);
}

#[test]
fn what_is_no_key_is_nobody() {
    let accounts = open(&Memory::default());
    let (text, info) = accounts.create_key(sensor()).unwrap();
    let secret = text.rsplit('_').next().unwrap();
    let flipped = if text.ends_with('0') { '1' } else { '0' };
    for wrong in [
        String::new(),
        "weir_".into(),
        secret.into(),
        text.to_uppercase(),
        format!("{text}0"),
        format!(" {text}"),
        text[..text.len() - 1].into(),
        format!("{}{flipped}", &text[..text.len() - 1]),
        format!("weir_{}_", info.id),
        format!("weir_0000000000_{secret}"),
        format!("weir_{}é", &info.id[..9]),
    ] {
        assert!(accounts.verify(wrong.as_bytes()).is_none(), "{wrong}");
    }
    assert!(accounts.verify(&[0xff; 60]).is_none());
}

#[test]
fn expired_keys_do_not_work() {
    let accounts = open(&Memory::default());
    let soon = NewKey { expires_us: Some(now_us() + 20_000), ..sensor() };
    let (text, info) = accounts.create_key(soon).unwrap();
    assert!(accounts.verify(text.as_bytes()).is_some());
    std::thread::sleep(std::time::Duration::from_millis(30));
    assert!(accounts.verify(text.as_bytes()).is_none() && accounts.lookup(KEYS, &info.id).is_none());
    assert_eq!(accounts.list()[0].state, KeyState::Expired);
    let past = NewKey { expires_us: Some(1), ..sensor() };
    assert_eq!(
        accounts.create_key(past).unwrap_err().to_string(),
        "it would expire at 1970-01-01T00:00:00.000001Z, which is past"
    );
}

#[test]
fn nothing_that_is_kept_or_shown_holds_the_secret() {
    let memory = Memory::default();
    let accounts = open(&memory);
    let (text, info) = accounts.create_key(sensor()).unwrap();
    let secret = text.rsplit('_').next().unwrap();
    let stored =
        format!("{:?}", memory.0.lock().values().map(|v| v.escape_ascii().to_string()).collect::<Vec<_>>());
    let account = accounts.verify(text.as_bytes());
    for shown in [stored, format!("{info:?}{accounts:?}{account:?}"), serde_json::to_string(&info).unwrap()] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn bad_keys_are_refused_by_name() {
    let accounts = open(&Memory::default());
    let many = vec!["a".to_owned(); 65];
    for (new, wanted) in [
        (NewKey { name: "a/b".into(), ..sensor() }, "the name \"a/b\" cannot be used: a character at byte 1"),
        (NewKey { name: String::new(), ..sensor() }, "the name \"\" cannot be used: empty"),
        (
            NewKey { origin: "robot".into(), ..sensor() },
            "the origin \"robot\" is unknown; accepted are device",
        ),
        (
            NewKey { publish: vec!["a/#/b".into()], ..sensor() },
            "the publish pattern \"a/#/b\" cannot be used: a misplaced",
        ),
        (
            NewKey { subscribe: vec![String::new()], ..sensor() },
            "the subscribe pattern \"\" cannot be used: empty",
        ),
        (NewKey { publish: many, ..sensor() }, "65 publish patterns are given; at most 64"),
        (
            NewKey { attributes: vec![("A".into(), "".into())], ..sensor() },
            "the attributes are not acceptable",
        ),
        (NewKey { attributes: vec![("a".into(), "x".repeat(1_024))], ..sensor() }, "the attributes are not"),
    ] {
        let error = accounts.create_key(new).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{error}");
    }
    assert!(accounts.revoke("nope").unwrap_err().to_string().starts_with("no key has the id \"nope\""));
    assert_eq!((accounts.list().len(), accounts.revision()), (0, 1));
}

#[test]
fn changes_are_heard_of() {
    let accounts = open(&Memory::default());
    let mut changes = accounts.changes();
    assert!(!changes.has_changed().unwrap());
    let (_, info) = accounts.create_key(sensor()).unwrap();
    assert!(changes.has_changed().unwrap());
    assert_eq!(*changes.borrow_and_update(), accounts.revision());
    accounts.revoke(&info.id).unwrap();
    assert_eq!((changes.has_changed().unwrap(), accounts.revision()), (true, 3));
}

#[test]
fn without_a_disk_no_key_is_made_but_revoking_counts_at_once() {
    let memory = Memory::default();
    let accounts = open(&memory);
    let (text, info) = accounts.create_key(sensor()).unwrap();
    memory.1.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(accounts.create_key(sensor()).is_err());
    assert_eq!(accounts.list().len(), 1);
    let error = accounts.revoke(&info.id).unwrap_err();
    assert_eq!(error.to_string(), "the accounts cannot be stored: no space left");
    assert!(accounts.verify(text.as_bytes()).is_none());
}

#[test]
fn a_damaged_record_costs_its_own_key_only() {
    let memory = Memory::default();
    let (text, _) = open(&memory).create_key(sensor()).unwrap();
    let sound = memory.0.lock().values().next().unwrap().clone();
    let newer = String::from_utf8(sound.clone()).unwrap().replace("\"v\":1", "\"v\":2");
    let short = String::from_utf8(sound.clone()).unwrap().replace("\"sha256\":\"", "\"sha256\":\"zz");
    for (name, value) in [
        (&b"keys/newer00000"[..], newer.into_bytes()),
        (b"keys/short00000", short.into_bytes()),
        (b"keys/broken0000", b"{".to_vec()),
        (b"\xff", sound),
    ] {
        memory.0.lock().insert(name.to_vec(), value);
    }
    let accounts = open(&memory);
    assert_eq!(accounts.list().len(), 1);
    assert!(accounts.verify(text.as_bytes()).is_some());
}
