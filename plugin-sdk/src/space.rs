use crate::bindings::storage::exports::weir::plugin::storage as wit;
use crate::{Attribute, StoreFailure, Time, host};
use std::collections::BTreeMap;

/// The key space of a storage plugin during one batch: reads see what this batch wrote already, and nothing
/// of it is kept before the host commits all of it with the cursor.
#[derive(Debug, Default)]
pub struct Space {
    writes: Vec<Write>,
    /// Which of the writes holds a key's newest value.
    newest: BTreeMap<Vec<u8>, usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Write {
    Put { key: Vec<u8>, value: Vec<u8>, expires: Option<Time> },
    Delete { key: Vec<u8> },
    Post(Post),
}

/// One HTTP POST to the world outside, sent after the batch is committed: at least once, in order for each
/// destination, with backoff, only to URLs that the binding grants with `post = [..]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// `https://` or `http://`, at most 2 KiB.
    pub url: String,
    /// At most 32 and 8 KiB. `host`, `content-length` and the like are the router's.
    pub headers: Vec<Attribute>,
    /// At most 256 KiB.
    pub body: Vec<u8>,
    /// Idempotency key: 1 to 128 bytes of visible ASCII. Make it from epoch and offset, so that a post that is
    /// sent twice is recognised.
    pub key: String,
}

impl Space {
    /// The value of a key, with this batch's own writes.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, StoreFailure> {
        match self.newest.get(key.as_ref()).and_then(|at| self.writes.get(*at)) {
            Some(Write::Put { value, .. }) => Ok(Some(value.clone())),
            Some(_) => Ok(None),
            None => Ok(host::get(key.as_ref())?),
        }
    }

    /// Creates or replaces.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl Into<Vec<u8>>) {
        self.write(Write::Put { key: key.as_ref().to_vec(), value: value.into(), expires: None });
    }

    /// Creates or replaces, until that time. Take it from the message, so that a rebuild gives the same.
    pub fn put_until(&mut self, key: impl AsRef<[u8]>, value: impl Into<Vec<u8>>, expires: Time) {
        self.write(Write::Put { key: key.as_ref().to_vec(), value: value.into(), expires: Some(expires) });
    }

    /// Deleting what is not there is fine.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) {
        self.write(Write::Delete { key: key.as_ref().to_vec() });
    }

    /// Puts a request into the outbox.
    pub fn post(&mut self, post: Post) {
        self.writes.push(Write::Post(post));
    }

    /// An earlier write to the same key has no effect any more: it is overwritten in place, which keeps a
    /// batch of many messages about one thing small.
    fn write(&mut self, write: Write) {
        let (Write::Put { key, .. } | Write::Delete { key }) = &write else { return };
        match self.newest.get(key).and_then(|at| self.writes.get_mut(*at)) {
            Some(earlier) => *earlier = write,
            None => {
                self.newest.insert(key.clone(), self.writes.len());
                self.writes.push(write);
            }
        }
    }

    pub(crate) fn into_writes(self) -> Vec<Write> {
        self.writes
    }
}

impl From<Write> for wit::Write {
    fn from(write: Write) -> Self {
        match write {
            Write::Put { key, value, expires } => {
                Self::Put(wit::Pair { key, value, expires_us: expires.map(Time::micros) })
            }
            Write::Delete { key } => Self::Delete(key),
            Write::Post(Post { url, headers, body, key }) => {
                Self::Post(wit::Post { url, headers, body, key })
            }
        }
    }
}
