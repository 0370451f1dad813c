//! A quick look at two neighbouring tokens: most have nothing that could be joined across their border.
//!
//! What can be joined there is one of those that stand at the left token's end on its way (itself, its right part, that one's
//! right part, ...) and one of those at the right token's beginning. A token that merges with anything on its right side has a
//! set of partners; a set is 64 bits here, of which each token has one. If no partner of the left side is on the right side, the two
//! stay apart. If one seems to be, that has to be looked at.

use super::Token;

/// What is known of a token as a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// Whether anything is known.
    #[inline]
    pub fn tell(self) -> bool {
        self != Self::ANY
    }

    /// Whether a token stays apart from the one on its right for certain.
    #[inline]
    pub fn are_apart(self, right: Self) -> bool {
        self.partners & right.beginnings == 0
    }
}

/// Gives all tokens their signs, from the two parts each is joined of; bytes are their own parts.
///
/// Parts are older. A token that is older than a part, or made of such a one, is left with [`Signs::ANY`]: what stands at its
/// border, and when, does not follow from the numbers.
pub fn give(tokens: &mut [Token]) {
    for (number, token) in (0..).zip(&mut *tokens) {
        token.signs = Signs {
            partners: 0,
            beginnings: bit(number),
        };
    }
    for number in 256..tokens.len() {
        let [left, right] = tokens[number].parts;
        tokens[left as usize].signs.partners |= bit(right);
    }
    for number in 256..tokens.len() {
        let parts = tokens[number].parts;
        let [left, right] = parts.map(|part| tokens[part as usize].signs);
        let signs = &mut tokens[number].signs;
        if left.tell() && right.tell() && parts.iter().all(|part| (*part as usize) < number) {
            signs.partners |= right.partners;
            signs.beginnings |= left.beginnings;
        } else {
            *signs = Signs::ANY;
        }
    }
}

#[inline]
fn bit(number: u32) -> u64 {
    1 << (number.wrapping_mul(0x9E37_79B9) >> (32 - 6))
}
