//! Signatures of plugins: minisign, detached, over the bytes that were hashed and will be compiled.

use minisign_verify::{Error, Signature};

use super::binding::Source;
use super::folder::{File, Seal};
use super::{Kind, LoadError};
use crate::config::{SignedKind, Trust};

/// What a file's signature was found to allow.
#[derive(Debug, PartialEq, Eq)]
pub enum Signed {
    /// No signature is wanted of it.
    Free,
    /// Kinds that the keys which signed it may sign.
    For(Vec<SignedKind>),
}

/// Whether somebody who is trusted signed the file. For which kinds is checked by [`Signed::allows`], since the kind is
/// read only after this.
pub fn verify(trust: &Trust, source: &Source, file: &File) -> Result<Signed, LoadError> {
    if !trust.require_signatures || file.seal == Seal::Embedded {
        return Ok(Signed::Free);
    }
    let name = format!("{source}.minisig");
    let refuse = |why: String| Err(LoadError::Signature(why));
    let text = match &file.seal {
        Seal::Text(text) => text,
        Seal::Unreadable(why) => return refuse(format!("{name} cannot be read: {why}")),
        Seal::Embedded | Seal::None => {
            return refuse(format!(
                "{name} is missing: this router takes only signed plugins, so make it with `minisign -S` and a trusted key"
            ));
        }
    };
    let Ok(signature) = Signature::decode(text) else {
        return refuse(format!("{name} is damaged: it is not what `minisign -S` writes"));
    };
    let mut kinds = Vec::new();
    let mut failed = None;
    for key in &trust.keys {
        match key.public.verify(&file.bytes, &signature, false) {
            Ok(()) => kinds.extend(&key.kinds),
            Err(Error::UnexpectedKeyId) => {}
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        _ if !kinds.is_empty() => Ok(Signed::For(kinds)),
        None => refuse(format!(
            "{name} was made with a key that is not trusted: [[trust.key]] names those that are"
        )),
        Some(Error::UnexpectedAlgorithm | Error::UnsupportedLegacyMode) => {
            refuse(format!("{name} is of minisign's old form: make it again without -l"))
        }
        Some(_) => refuse(format!(
            "{name} does not match {source}: one of them was changed, or is of another version"
        )),
    }
}

impl Signed {
    /// Whether whoever signed it may sign plugins of its kind.
    pub fn allows(&self, kind: Kind) -> Result<(), LoadError> {
        let Self::For(kinds) = self else { return Ok(()) };
        let wanted = match kind {
            Kind::Auth => SignedKind::Auth,
            Kind::Filter => SignedKind::Filter,
            Kind::Transform => SignedKind::Transform,
            Kind::Storage => SignedKind::Storage,
        };
        if kinds.contains(&wanted) {
            return Ok(());
        }
        Err(LoadError::Signature(format!(
            "the key that signed it is not trusted for {kind} plugins: [[trust.key]] kinds says for which it is"
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use minisign::KeyPair;
    use minisign_verify::PublicKey;

    use super::*;
    use crate::config::TrustedKey;

    fn key() -> KeyPair {
        KeyPair::generate_unencrypted_keypair().unwrap()
    }

    fn trusted(key: &KeyPair, kinds: &[SignedKind]) -> TrustedKey {
        TrustedKey { public: PublicKey::from_base64(&key.pk.to_base64()).unwrap(), kinds: kinds.to_vec() }
    }

    fn sign(key: &KeyPair, bytes: &[u8]) -> String {
        minisign::sign(None, &key.sk, bytes, None, None).unwrap().to_string()
    }

    fn judge(trust: &Trust, bytes: &[u8], seal: Seal) -> Result<Signed, String> {
        let file = File { bytes: Arc::from(bytes), digest: [0; 32], seal };
        let verdict = verify(trust, &Source::File("a".into()), &file);
        verdict.map_err(|error| {
            assert_eq!(error.stage(), "signature");
            error.to_string()
        })
    }

    #[test]
    fn each_fault_has_its_own_words() {
        let (ours, other) = (key(), key());
        let keys = vec![trusted(&ours, &[SignedKind::Filter])];
        let trust = Trust { require_signatures: true, keys };
        let text = |text: &str| Seal::Text(text.into());
        assert_eq!(judge(&trust, b"x", text(&sign(&ours, b"x"))), Ok(Signed::For(vec![SignedKind::Filter])));
        assert_eq!(judge(&trust, b"x", Seal::Embedded), Ok(Signed::Free));
        assert_eq!(judge(&Trust::default(), b"x", Seal::None), Ok(Signed::Free));
        let good = sign(&ours, b"x");
        let half = good.split_at(good.len() / 2).0;
        let forged = good.replace("trusted comment: ", "trusted comment: not ");
        for (seal, wanted) in [
            (Seal::None, "a.wasm.minisig is missing"),
            (Seal::Unreadable("it is a folder".into()), "cannot be read: it is a folder"),
            (text(half), "is damaged"),
            (text(""), "is damaged"),
            (text(&sign(&other, b"x")), "a key that is not trusted"),
            (text(&sign(&ours, b"y")), "does not match a.wasm"),
            (text(&forged), "does not match a.wasm"),
        ] {
            let said = judge(&trust, b"x", seal).unwrap_err();
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
    }

    #[test]
    fn a_key_signs_only_its_kinds_and_one_that_stands_twice_signs_both() {
        let ours = key();
        let mut trust = Trust { require_signatures: true, keys: vec![trusted(&ours, &[SignedKind::Filter])] };
        let seal = Seal::Text(sign(&ours, b"x").into());
        let signed = judge(&trust, b"x", seal.clone()).unwrap();
        assert!(signed.allows(Kind::Filter).is_ok());
        let refused = signed.allows(Kind::Auth).unwrap_err();
        assert_eq!(refused.stage(), "signature");
        assert!(refused.to_string().contains("not trusted for auth plugins"), "{refused}");
        trust.keys.push(trusted(&ours, &[SignedKind::Auth]));
        assert!(judge(&trust, b"x", seal).unwrap().allows(Kind::Auth).is_ok());
    }
}
