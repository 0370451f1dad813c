//! A quick test of two neighboring tokens: in most pairs nothing can merge across the boundary.
//!
//! What can merge there is one of the tokens that end at the left token's end while it is built (the token itself, its right
//! part, that one's right part, ...) with one of those at the right token's beginning. A token that merges with anything on its
//! right has a set of partners; a set is 64 bits here, and each token has one of the bits. If the partners on the left and the
//! tokens on the right share no bit, nothing merges. If they share one, the pair has to be checked.

use super::token::{BoundaryFilter, Token};

/// Sets the filters of all tokens, from the two parts of each; the parts of a byte are the byte.
///
/// Parts are older. A token that is older than one of its parts, or contains such a token, keeps [`BoundaryFilter::UNKNOWN`]: the
/// tokens at its boundary, and their times, do not follow from the numbers.
pub fn set_filters(tokens: &mut [Token]) {
    for (number, token) in (0..).zip(&mut *tokens) {
        token.boundaries = BoundaryFilter {
            partners: 0,
            beginnings: bit(number),
        };
    }
    for number in 256..tokens.len() {
        let [left, right] = tokens[number].parts;
        tokens[left as usize].boundaries.partners |= bit(right);
    }
    for number in 256..tokens.len() {
        let parts = tokens[number].parts;
        let [left, right] = parts.map(|part| tokens[part as usize].boundaries);
        let filter = &mut tokens[number].boundaries;
        if left.is_known() && right.is_known() && parts.iter().all(|part| (*part as usize) < number)
        {
            filter.partners |= right.partners;
            filter.beginnings |= left.beginnings;
        } else {
            *filter = BoundaryFilter::UNKNOWN;
        }
    }
}

#[inline]
fn bit(number: u32) -> u64 {
    1 << (number.wrapping_mul(0x9E37_79B9) >> (32 - 6))
}
