//! The effect of one merge, by neighbor: each pair `(x, l)` that became `(x, z)`, or `(r, y)` that became `(z, y)`.
//!
//! A merge may join a hundred thousand occurrences, but it has few distinct neighbors; so counts are summed in an array by
//! neighbor, and the table of pairs is accessed once per neighbor instead of once per occurrence.

/// The effect for one neighbor.
#[derive(Clone, Copy, Default)]
pub struct Gain {
    /// Occurrences.
    pub count: u64,
    /// The number of postings.
    pub postings: u32,
    /// The last posting; while postings are distributed, where the next one is written.
    pub at: u32,
}

/// The effects on one side of the joined pairs.
#[derive(Default)]
pub struct Gains {
    /// By id of the neighbor.
    pub by: Vec<Gain>,
    /// The neighbors that occurred.
    pub touched: Vec<u32>,
    /// Neighbor and posting, in the order of the postings, without consecutive repetitions.
    pub postings: Vec<(u32, u32)>,
}

impl Gains {
    /// Grows to ids below `ids`.
    pub fn grow(&mut self, ids: usize) {
        if self.by.len() < ids {
            self.by.resize(ids, Gain::default());
        }
    }

    /// Adds `count` occurrences at `posting` next to `neighbor`.
    #[inline]
    pub fn add(&mut self, neighbor: u32, posting: u32, count: u64) {
        let gain = &mut self.by[neighbor as usize];
        if gain.postings == 0 {
            self.touched.push(neighbor);
        }
        if gain.postings == 0 || gain.at != posting {
            gain.postings += 1;
            gain.at = posting;
            self.postings.push((neighbor, posting));
        }
        gain.count += count;
    }

    /// Removes all effects.
    pub fn clear(&mut self) {
        for &neighbor in &self.touched {
            self.by[neighbor as usize] = Gain::default();
        }
        self.touched.clear();
        self.postings.clear();
    }
}
