//! Mutations of seeds, the same on every machine.

/// An endless sequence of mutated seeds.
pub struct Mutations<'s> {
    seeds: &'s [Vec<u8>],
    state: u64,
}

impl<'s> Mutations<'s> {
    /// Mutations of these seeds.
    pub fn of(seeds: &'s [Vec<u8>]) -> Self {
        Self { seeds, state: 7 }
    }

    /// A number below `bound` (Knuth's MMIX generator).
    fn below(&mut self, bound: usize) -> usize {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize % bound.max(1)
    }

    /// Changes a few bytes of `data`.
    fn change(&mut self, data: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(data.len() + 1);
            match self.below(6) {
                0 => data.insert(at, self.below(256) as u8),
                1 => data.truncate(at),
                2 => self.splice(data, at),
                3 => {
                    let end = (at + self.below(40)).min(data.len());
                    let part = data[at..end].to_vec();
                    data.splice(at..at, part.repeat(1 + self.below(8)));
                }
                _ if at < data.len() => data[at] ^= 1 << self.below(8),
                _ => data.push(b' '),
            }
        }
    }

    /// Copies a part of some seed into `data`.
    fn splice(&mut self, data: &mut Vec<u8>, at: usize) {
        let other = &self.seeds[self.below(self.seeds.len())];
        let start = self.below(other.len());
        let end = (start + self.below(60)).min(other.len());
        data.splice(at..at, other[start..end].iter().copied());
    }
}

impl Iterator for Mutations<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut data = self.seeds.get(self.below(self.seeds.len()))?.clone();
        self.change(&mut data);
        Some(data)
    }
}
