//! Sets of characters.

/// A set of characters.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    ascii: u128,
    /// First and last of each range, in order.
    ranges: Vec<(u32, u32)>,
}

impl Set {
    /// The characters in these ranges, which are sorted.
    pub fn of(ranges: Vec<(u32, u32)>) -> Self {
        let has = |code: u32| {
            ranges
                .iter()
                .any(|&(first, last)| (first..=last).contains(&code))
        };
        let ascii = (0..128)
            .filter(|&code| has(code))
            .fold(0, |bits, code| bits | 1 << code);
        Self { ascii, ranges }
    }

    /// Whether it contains a character.
    #[inline]
    pub fn has(&self, character: char) -> bool {
        let code = u32::from(character);
        if code < 128 {
            return self.ascii >> code & 1 == 1;
        }
        let after = self.ranges.partition_point(|&(first, _)| first <= code);
        after > 0 && self.ranges[after - 1].1 >= code
    }
}
