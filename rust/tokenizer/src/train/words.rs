//! The distinct pre-tokens as tokens that merges join in place.
//!
//! A pre-token of up to [`MAX_WORD_TOKENS`] bytes is a *word*: count, length and tokens in a row of one flat array, so that
//! joining a pair in it touches a cache line or two. Longer ones are in [`LongWords`], where the cost of a join does not depend
//! on the length. A *posting* says where a pair occurs: the position of a word, or (highest bit set) the position of the left
//! token in a long word.

use super::gains::Gains;
use super::long_words::LongWords;
use crate::model::Merge;
use crate::scan::prefetch;

/// The maximum number of tokens of a word: a length has eight bits.
pub const MAX_WORD_TOKENS: usize = 255;

/// Marks a posting as a position in the long words.
const LONG: u32 = 1 << 31;

/// The number of postings that a word is prefetched ahead: otherwise merging waits for memory.
const AHEAD: usize = 12;
/// The number of positions of a word that are compared together.
const LANES: usize = 16;

/// A token id in as few bits as the vocabulary needs.
pub trait Symbol: Copy + Eq + Default {
    /// The number of symbols for a word's count and lengths.
    const HEAD: usize;
    /// The symbol of an id, which must fit.
    fn of(id: u32) -> Self;
    /// Its id.
    fn id(self) -> u32;
    /// Appends a head: the count, and the length twice (current and initial).
    fn push_head(to: &mut Vec<Self>, count: u64, len: usize);
    /// Count, current length and initial length in a head.
    fn head(from: &[Self]) -> (u64, usize, usize);
    /// Sets the current length in a head.
    fn set_len(head: &mut [Self], len: usize);
}

impl Symbol for u16 {
    const HEAD: usize = 5;

    #[inline]
    fn of(id: u32) -> Self {
        id as Self
    }

    #[inline]
    fn id(self) -> u32 {
        u32::from(self)
    }

    fn push_head(to: &mut Vec<Self>, count: u64, len: usize) {
        to.extend([0, 16, 32, 48].map(|shift| (count >> shift) as Self));
        to.push((len << 8 | len) as Self);
    }

    #[inline]
    fn head(from: &[Self]) -> (u64, usize, usize) {
        let part = |at: usize| u64::from(from[at]) << (16 * at);
        let lengths = usize::from(from[4]);
        (
            part(0) | part(1) | part(2) | part(3),
            lengths & 0xFF,
            lengths >> 8,
        )
    }

    #[inline]
    fn set_len(head: &mut [Self], len: usize) {
        head[4] = head[4] & 0xFF00 | len as Self;
    }
}

impl Symbol for u32 {
    const HEAD: usize = 3;

    #[inline]
    fn of(id: u32) -> Self {
        id
    }

    #[inline]
    fn id(self) -> u32 {
        self
    }

    fn push_head(to: &mut Vec<Self>, count: u64, len: usize) {
        to.extend([
            count as Self,
            (count >> 32) as Self,
            (len << 8 | len) as Self,
        ]);
    }

    #[inline]
    fn head(from: &[Self]) -> (u64, usize, usize) {
        let count = u64::from(from[0]) | u64::from(from[1]) << 32;
        (count, from[2] as usize & 0xFF, from[2] as usize >> 8)
    }

    #[inline]
    fn set_len(head: &mut [Self], len: usize) {
        head[2] = head[2] & 0xFF00 | len as Self;
    }
}

/// Every distinct pre-token of at least two tokens.
#[derive(Default)]
pub struct Words<S> {
    flat: Vec<S>,
    long: LongWords,
}

impl<S: Symbol> Words<S> {
    /// Adds a pre-token, each byte as a token. A single byte has no pair and is left out.
    pub fn push(&mut self, pre_token: &[u8], count: u64, bytes: &[u32; 256]) {
        let ids = pre_token.iter().map(|&byte| bytes[usize::from(byte)]);
        if pre_token.len() > MAX_WORD_TOKENS {
            self.long.push(ids, count);
        } else if pre_token.len() > 1 {
            S::push_head(&mut self.flat, count, pre_token.len());
            self.flat.extend(ids.map(S::of));
        }
    }

    /// Reserves memory for words of `text_bytes` bytes in `pre_tokens` pre-tokens.
    pub fn reserve(&mut self, pre_tokens: u64, text_bytes: u64) {
        self.flat
            .reserve_exact(text_bytes as usize + S::HEAD * pre_tokens as usize);
    }

    /// The number of symbols and heads, which is the cost of a scan of the words.
    pub fn len(&self) -> usize {
        self.flat.len() + self.long.len()
    }

    /// Calls `pair(posting, left, right, count)` for each two neighbors.
    pub fn for_each_pair(&self, mut pair: impl FnMut(u32, u32, u32, u64)) {
        let mut at = 0;
        while at < self.flat.len() {
            let (count, len, room) = S::head(&self.flat[at..]);
            let tokens = &self.flat[at + S::HEAD..][..len];
            for two in tokens.windows(2) {
                pair(at as u32, two[0].id(), two[1].id(), count);
            }
            at += S::HEAD + room;
        }
        self.long
            .for_each_pair(|place, left, right, count| pair(place | LONG, left, right, count));
    }

    /// Compacts the words, without those that became one token. This invalidates postings.
    pub fn close_gaps(&mut self) {
        let (mut from, mut to) = (0, 0);
        while from < self.flat.len() {
            let (count, len, room) = S::head(&self.flat[from..]);
            if len > 1 {
                let mut head = Vec::with_capacity(S::HEAD);
                S::push_head(&mut head, count, len);
                self.flat[to..to + S::HEAD].copy_from_slice(&head);
                self.flat
                    .copy_within(from + S::HEAD..from + S::HEAD + len, to + S::HEAD);
                to += S::HEAD + len;
            }
            from += S::HEAD + room;
        }
        self.flat.truncate(to);
    }

    /// Joins the pair at the postings, and records the new pairs.
    pub fn join(&mut self, postings: &[u32], merge: Merge, left: &mut Gains, right: &mut Gains) {
        for (number, &posting) in postings.iter().enumerate() {
            if let Some(&later) = postings.get(number + AHEAD) {
                prefetch(&self.flat, later as usize);
            }
            if posting & LONG == 0 {
                self.join_word(posting, merge, left, right);
            } else {
                self.join_long(posting, merge, left, right);
            }
        }
    }

    fn join_long(&mut self, posting: u32, merge: Merge, left: &mut Gains, right: &mut Gains) {
        let Some(joined) = self.long.join(posting & !LONG, merge) else {
            return;
        };
        if let Some((id, place)) = joined.before {
            left.add(id, place | LONG, joined.count);
        }
        if let Some(id) = joined.after {
            right.add(id, posting, joined.count);
        }
    }

    #[inline]
    fn join_word(&mut self, at: u32, merge: Merge, left: &mut Gains, right: &mut Gains) {
        let word = &mut self.flat[at as usize..];
        let (count, len, _) = S::head(word);
        let (head, tokens) = word.split_at_mut(S::HEAD);
        let [l, r, joined] = [merge.left, merge.right, merge.joined].map(S::of);
        let (mut from, mut to) = (0, 0);
        let mut searched = 0;
        while searched + 1 < len {
            let mut found = pairs_in(tokens, searched, len, l, r);
            while found != 0 {
                let place = searched + found.trailing_zeros() as usize;
                found &= found - 1;
                // The left token was joined to the pair before it, as in "aaa".
                if place < from {
                    continue;
                }
                to = close_up(tokens, from, place, to);
                if to > 0 {
                    left.add(tokens[to - 1].id(), at, count);
                }
                if place + 2 < len {
                    right.add(tokens[place + 2].id(), at, count);
                }
                tokens[to] = joined;
                (from, to) = (place + 2, to + 1);
            }
            searched += LANES;
        }
        if from > 0 {
            let len = close_up(tokens, from, len, to);
            S::set_len(head, len);
        }
    }
}

/// Moves `tokens[from..end]` down to `to`, and returns their new end.
#[inline]
fn close_up<S: Symbol>(tokens: &mut [S], from: usize, end: usize, to: usize) -> usize {
    if from != to {
        for place in from..end {
            tokens[to + (place - from)] = tokens[place];
        }
    }
    to + (end - from)
}

/// The positions, of the [`LANES`] from `start` in the first `len` tokens, at which the pair begins, lowest bit first.
#[inline]
fn pairs_in<S: Symbol>(tokens: &[S], start: usize, len: usize, l: S, r: S) -> u32 {
    let places = (len - start - 1).min(LANES);
    // What is beyond the word is compared and masked out: so whole vectors are compared.
    let Some((first, second)) = tokens
        .get(start..start + LANES)
        .zip(tokens.get(start + 1..start + 1 + LANES))
    else {
        return (0..places)
            .filter(|&place| tokens[start + place] == l && tokens[start + place + 1] == r)
            .fold(0, |bits, place| bits | 1 << place);
    };
    let mut bits = [0_u16; LANES];
    for (place, bit) in bits.iter_mut().enumerate() {
        *bit = u16::from((first[place] == l) & (second[place] == r)) << place;
    }
    let bits = bits.iter().fold(0, |all, bit| all | bit);
    u32::from(bits) & ((1 << places) - 1)
}
