//! What the router must know of a publisher to ask for its rights again when its session is gone.

use std::sync::Arc;

use weir_contract::packed::{self, put, tag};

use super::{Message, Principal, Rights};

/// Who let a publisher in, and its note; everything else of the principal stands in its messages' metadata. No
/// secret is in it: auth plugins see none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The auth binding.
    pub binding: Arc<str>,
    /// As in [`Principal::claims`].
    pub claims: Arc<[u8]>,
}

impl Sender {
    /// Of a session's principal.
    pub fn of(principal: &Principal) -> Self {
        Self { binding: Arc::clone(&principal.binding), claims: Arc::clone(&principal.claims) }
    }

    /// Length of the binding's name (one byte: it has 63 at most), the name, the claims.
    pub fn encode(&self) -> Vec<u8> {
        let mut blob = Vec::with_capacity(1 + self.binding.len() + self.claims.len());
        blob.push(u8::try_from(self.binding.len()).unwrap_or(u8::MAX));
        blob.extend_from_slice(self.binding.as_bytes());
        blob.extend_from_slice(&self.claims);
        blob
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(blob: &[u8]) -> Option<Self> {
        let (length, rest) = blob.split_first()?;
        let (binding, claims) = rest.split_at_checked(usize::from(*length))?;
        Some(Self { binding: std::str::from_utf8(binding).ok()?.into(), claims: claims.into() })
    }

    /// The principal that published `message`. Without an end: what it published, it published in time. None: the
    /// message carries no principal.
    pub fn principal(&self, message: &Message) -> Option<Principal> {
        let mut blob = Vec::with_capacity(128);
        let is_principals = |field: u8| (tag::TENANT..=tag::ATTRIBUTE).contains(&field);
        for (field, value) in
            packed::fields(&message.meta).flatten().filter(|(field, _)| is_principals(*field))
        {
            put(&mut blob, field, value);
        }
        let text = |field| packed::text(&message.meta, field).map(Arc::<str>::from);
        Some(Principal {
            tenant: text(tag::TENANT)?,
            name: text(tag::NAME)?,
            origin: text(tag::ORIGIN)?,
            account: text(tag::ACCOUNT),
            expires_us: None,
            rights: Rights::of(&self.binding, &self.claims),
            claims: Arc::clone(&self.claims),
            binding: Arc::clone(&self.binding),
            packed: blob.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Grant;

    #[test]
    fn a_principal_comes_back_from_what_it_published() {
        let grant = Grant {
            tenant: "main".into(),
            name: "ada".into(),
            origin: "device".into(),
            account: Some("k1".into()),
            claims: vec![0, 255],
            attributes: vec![("role".into(), "tester".into())],
            ..Grant::default()
        };
        let principal = Principal::new(grant, "open".into(), "http", "S1").unwrap();
        let mut meta = Vec::new();
        put(&mut meta, tag::ID, &7u128.to_be_bytes());
        meta.extend_from_slice(&principal.packed[1..]);
        put(&mut meta, tag::CONTENT_TYPE, b"text/plain");
        let message = Message { topic: "a".into(), meta: meta.into(), payload: "x".into() };
        let sender = Sender::decode(&Sender::of(&principal).encode()).unwrap();
        assert_eq!(sender, Sender::of(&principal));
        let back = sender.principal(&message).unwrap();
        assert_eq!((&back.packed, &back.claims), (&principal.packed, &principal.claims));
        assert_eq!((&*back.name, back.account.as_deref(), &*back.binding), ("ada", Some("k1"), "open"));
        for cut in [&[][..], &[4, b'o'], &[1, 0xff]] {
            assert_eq!(Sender::decode(cut), None, "{cut:?}");
        }
    }
}
