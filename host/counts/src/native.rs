//! A native loop of work like that of a message: texts are copied, and read through calls that the compiler cannot see
//! through. Calls into guests are measured by it, so that a slow machine slows both.

use std::hint::black_box;

/// Texts that one turn copies.
const TEXTS: usize = 16;
/// Bytes of each.
const BYTES: usize = 256;

/// The loop's memory. It lies at the beginning of a page, as where it lies would else make a quarter of the time.
#[repr(align(4096))]
pub struct Native {
    text: [u8; BYTES],
    copies: [[u8; BYTES]; TEXTS],
}

impl Native {
    /// Texts to copy.
    pub fn new() -> Box<Self> {
        Box::new(Self { text: [b'x'; BYTES], copies: [[0; BYTES]; TEXTS] })
    }

    /// One turn. The answer depends on all of it.
    pub fn turn(&mut self, seed: u64) -> u64 {
        let digest: fn(&[u8], u64) -> u64 = black_box(digest);
        let text = &self.text;
        self.copies.iter_mut().fold(seed, |sum, copy| {
            copy.copy_from_slice(black_box(text));
            digest(black_box(copy), sum)
        })
    }
}

/// FNV-1a, eight bytes at a time.
fn digest(bytes: &[u8], seed: u64) -> u64 {
    let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
    words.fold(seed, |sum, word| (sum ^ word).wrapping_mul(0x0100_0000_01b3))
}
