//! A quick look at two neighbouring tokens: most have nothing that could be joined across their border.
//!
//! What can be joined there is one of those that stand at the left token's end on its way (itself, its right part, that one's
//! right part, ...) and one of those at the right token's beginning. A token that merges with anything on its right side has a
//! set of partners; a set is 64 bits here, of which each token has one. If no partner of the left side is on the right side, the two
//! stay apart. If one seems to be, that has to be looked at.

/// What is known of a token as a neighbour.
#[derive(Debug, Clone, Copy)]
pub struct Signs {
    /// Partners of what stands at its end.
    partners: u64,
    /// What stands at its beginning.
    beginnings: u64,
}

impl Signs {
    /// Of a token of which nothing is known.
    pub const ANY: Self = Self {
        partners: u64::MAX,
        beginnings: u64::MAX,
    };

    /// Of each token, by the two parts it is joined of, which are older; bytes, the first 256, are their own parts.
    pub fn of(parts: &[[u32; 2]]) -> Vec<Self> {
        let mut partners = vec![0; parts.len()];
        for &[left, right] in parts.iter().skip(256) {
            partners[left as usize] |= bit(right);
        }
        let mut signs: Vec<Self> = Vec::with_capacity(parts.len());
        for ((number, &[left, right]), partners) in (0..).zip(parts).zip(partners) {
            let of = |part: u32| {
                let nothing = Self {
                    partners: 0,
                    beginnings: 0,
                };
                signs.get(part as usize).copied().unwrap_or(nothing)
            };
            signs.push(Self {
                partners: partners | of(right).partners,
                beginnings: bit(number) | of(left).beginnings,
            });
        }
        signs
    }

    /// Whether a token stays apart from the one on its right for certain.
    #[inline]
    pub fn are_apart(self, right: Self) -> bool {
        self.partners & right.beginnings == 0
    }
}

#[inline]
fn bit(number: u32) -> u64 {
    1 << (number.wrapping_mul(0x9E37_79B9) >> (32 - 6))
}
