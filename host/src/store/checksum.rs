//! The checksum of packs.

/// Odd, with well-spread bits (from the golden ratio): multiplying by it loses nothing.
const K: u64 = 0x9E37_79B9_7F4A_7C15;

/// 64 bits over `bytes`.
///
/// Four lanes, each a chain of rotate, xor and multiply: every step is a bijection, so one changed word always
/// changes the sum, and 32 KiB take a few microseconds. It finds accidents, not attackers.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    let step = |lane: u64, word: u64| (lane.rotate_left(23) ^ word).wrapping_mul(K);
    let mut lanes = [K, !K, K.rotate_left(17), K.rotate_left(41)];
    let (words, rest) = bytes.as_chunks::<8>();
    let (groups, single) = words.as_chunks::<4>();
    for group in groups {
        for (lane, word) in lanes.iter_mut().zip(group) {
            *lane = step(*lane, u64::from_le_bytes(*word));
        }
    }
    // The length goes in, so that zeros at the end count.
    let mut sum = bytes.len() as u64;
    for word in single {
        sum = step(sum, u64::from_le_bytes(*word));
    }
    for byte in rest {
        sum = step(sum, u64::from(*byte));
    }
    let sum = lanes.into_iter().fold(sum, step);
    sum ^ (sum >> 32)
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn every_flipped_bit_changes_it() {
        let mut bytes: Vec<u8> = (0..203u8).collect();
        let whole = checksum(&bytes);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                assert_ne!(checksum(&bytes), whole, "byte {at} bit {bit}");
                bytes[at] ^= 1 << bit;
            }
        }
        assert_ne!(checksum(&bytes[..202]), whole);
        assert_ne!(checksum(&[0; 8]), checksum(&[0; 9]));
    }
}
