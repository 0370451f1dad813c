//! What one merge brings about, by neighbour: each pair `(x, l)` that became `(x, z)`, or `(r, y)` that became `(z, y)`.
//!
//! A merge may join a hundred thousand occurrences, but its neighbours are few; so counts are added up in an array by
//! neighbour, and the table of pairs is asked once per neighbour in place of once per occurrence.

/// What came about beside one neighbour.
#[derive(Clone, Copy, Default)]
pub struct Gain {
    /// Occurrences.
    pub count: u64,
    /// Postings noted.
    pub postings: u32,
    /// The posting noted last; while they are dealt out, where the next one goes.
    pub at: u32,
}

/// The gains on one side of the joined pairs.
#[derive(Default)]
pub struct Gains {
    /// By id of the neighbour.
    pub by: Vec<Gain>,
    /// The neighbours that have gains.
    pub touched: Vec<u32>,
    /// Neighbour and posting, in the order of the postings; a posting once in a row.
    pub postings: Vec<(u32, u32)>,
}

impl Gains {
    /// Room for ids below `ids`.
    pub fn grow(&mut self, ids: usize) {
        if self.by.len() < ids {
            self.by.resize(ids, Gain::default());
        }
    }

    /// Notes `count` occurrences at `posting` beside `neighbour`.
    #[inline]
    pub fn add(&mut self, neighbour: u32, posting: u32, count: u64) {
        let gain = &mut self.by[neighbour as usize];
        if gain.postings == 0 {
            self.touched.push(neighbour);
        }
        if gain.postings == 0 || gain.at != posting {
            gain.postings += 1;
            gain.at = posting;
            self.postings.push((neighbour, posting));
        }
        gain.count += count;
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        for &neighbour in &self.touched {
            self.by[neighbour as usize] = Gain::default();
        }
        self.touched.clear();
        self.postings.clear();
    }
}
