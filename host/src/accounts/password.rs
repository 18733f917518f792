//! Passwords that people choose: kept as Argon2id hashes (RFC 9106), in the PHC string format.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordHasher, PasswordVerifier};

use super::AccountsError;

/// Longest password, in bytes: what is longer is wrong without a look.
pub(super) const MOST_BYTES: usize = 1_024;

/// Costs of a hash that was made elsewhere: memory, passes, lanes.
const MOST_KIB: u32 = 256 * 1_024;
const MOST_PASSES: u32 = 16;
const MOST_LANES: u32 = 16;

/// The hash of a password: 19 MiB and 2 passes, with a salt of its own. Takes some 20 ms of a processor, so not for the
/// thread of an async task.
pub fn hash(password: &str) -> Result<String, AccountsError> {
    let made = Argon2::default().hash_password(password.as_bytes());
    Ok(made.map_err(|error| AccountsError::Hash(error.to_string()))?.to_string())
}

/// What no password hashes to, with the parameters of [`hash`]: whoever names nobody waits as long as who is wrong.
pub(super) const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Whether it is the password of this hash, by the parameters that the hash names. As slow as making one.
pub fn verify(password: &[u8], hash: &str) -> bool {
    password.len() <= MOST_BYTES
        && PasswordHash::new(hash)
            .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

/// Whether it is a hash that [`verify`] may be given: of Argon2, with costs that a login may have.
pub fn is_hash(text: &str) -> bool {
    let Ok(hash) = PasswordHash::new(text) else { return false };
    let cheap = |params: Params| {
        params.m_cost() <= MOST_KIB && params.t_cost() <= MOST_PASSES && params.p_cost() <= MOST_LANES
    };
    hash.algorithm.as_str().starts_with("argon2") && Params::try_from(&hash.params).is_ok_and(cheap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_itself_is_right() {
        let hashed = hash("12345678").unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$"), "{hashed}");
        assert!(verify(b"12345678", &hashed));
        assert!(!verify(b"12345679", &hashed));
        assert!(!verify(b"", &hashed));
        assert!(!verify(b"12345678", "not a hash"));
        assert_ne!(hash("12345678").unwrap(), hashed, "each has its own salt");
        let costs = |hash: &str| PasswordHash::new(hash).unwrap().params.to_string();
        assert_eq!(costs(NOBODY), costs(&hashed), "nobody's takes as long");
        assert!(!verify(b"12345678", NOBODY));
    }
}
