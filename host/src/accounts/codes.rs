//! Random texts of letters and digits.

use super::AccountsError;

const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// So many of `A-Za-z0-9`, each as likely as the others: 5.95 bits each.
pub(super) fn random(chars: usize) -> Result<String, AccountsError> {
    let mut code = String::with_capacity(chars);
    let mut bytes = [0; 128];
    while code.len() < chars {
        getrandom::fill(&mut bytes).map_err(AccountsError::Random)?;
        // Of 64 values two are thrown away, since there are only 62 letters.
        let letters = bytes.iter().filter_map(|byte| LETTERS.get(usize::from(byte & 63)));
        code.extend(letters.map(|letter| char::from(*letter)).take(chars - code.len()));
    }
    Ok(code)
}
