//! Disjoint sets of document numbers.

/// A forest over `0..n`; the root of a set is its smallest number, whatever the order of the unions.
pub struct UnionFind {
    parent: Vec<u32>,
}

impl UnionFind {
    /// `count` sets of one number each.
    #[must_use]
    pub fn new(count: u32) -> Self {
        Self {
            parent: (0..count).collect(),
        }
    }

    /// The smallest number of the set.
    pub fn root(&mut self, number: u32) -> u32 {
        let mut at = number;
        loop {
            let above = self.parent[at as usize];
            if above == at {
                return at;
            }
            // Halving: each visited number skips one on the way, so paths stay short.
            let next = self.parent[above as usize];
            self.parent[at as usize] = next;
            at = next;
        }
    }

    /// Joins two sets.
    pub fn unite(&mut self, left: u32, right: u32) {
        let (left, right) = (self.root(left), self.root(right));
        let (small, large) = (left.min(right), left.max(right));
        self.parent[large as usize] = small;
    }

    /// Bytes in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.parent.capacity() * size_of::<u32>()
    }
}
