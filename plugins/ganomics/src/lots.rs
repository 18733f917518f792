//! Lots that come out the same when a pass is run again.

/// SplitMix64: a stream of numbers that depends on nothing but its seed.
#[derive(Debug)]
pub(crate) struct Lots(u64);

impl Lots {
    /// A stream of its own for each of these.
    pub(crate) fn of(seed: u64, parts: &[u64]) -> Self {
        let mut lots = Self(seed);
        for part in parts {
            lots.0 = lots.draw() ^ part;
        }
        lots
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Puts them into an order by lot.
    pub(crate) fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            // The bias of the remainder is far below what a room of 200 could show.
            let other = usize::try_from(self.draw() % (last as u64 + 1)).unwrap_or_default();
            all.swap(last, other);
        }
    }
}
