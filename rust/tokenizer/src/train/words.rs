//! The distinct pieces as tokens that merges join in place.
//!
//! A piece of up to [`MOST`] bytes is a *word*: count, length and tokens in a row of one flat array, so that joining a pair in
//! it touches a cache line or two. Longer ones are kept in [`Giants`], where a join costs the same however long the piece is.
//! A *posting* says where a pair occurs: the place of a word, or (highest bit set) the place of the left token in a giant.

use super::gains::Gains;
use super::giants::Giants;
use crate::model::Merge;

/// Most tokens of a word: a length has eight bits.
pub const MOST: usize = 255;

/// Marks a posting as a place among the giants.
const GIANT: u32 = 1 << 31;

/// Postings whose words are asked for together.
const AHEAD: usize = 32;
/// Bytes of a cache line.
const LINE: usize = 64;

/// A token id in as few bits as the vocabulary needs.
pub trait Symbol: Copy + Eq + Default {
    /// Symbols that hold a word's count and lengths.
    const HEAD: usize;
    /// The symbol of an id, which must fit.
    fn of(id: u32) -> Self;
    /// Its id.
    fn id(self) -> u32;
    /// Appends a head: the count, and the length twice (now, and the room there is).
    fn push_head(to: &mut Vec<Self>, count: u64, len: usize);
    /// Count, length and room in a head.
    fn head(from: &[Self]) -> (u64, usize, usize);
    /// Puts a new length into a head; the room stays.
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

/// Every distinct piece of at least two tokens.
#[derive(Default)]
pub struct Words<S> {
    flat: Vec<S>,
    giants: Giants,
}

impl<S: Symbol> Words<S> {
    /// Adds a piece, each byte a token. One of a single byte has no pair and is left out.
    pub fn push(&mut self, piece: &[u8], count: u64, bytes: &[u32; 256]) {
        let ids = piece.iter().map(|&byte| bytes[usize::from(byte)]);
        if piece.len() > MOST {
            self.giants.push(ids, count);
        } else if piece.len() > 1 {
            S::push_head(&mut self.flat, count, piece.len());
            self.flat.extend(ids.map(S::of));
        }
    }

    /// Room for words of `text_bytes` bytes in `pieces` pieces.
    pub fn reserve(&mut self, pieces: u64, text_bytes: u64) {
        self.flat
            .reserve_exact(text_bytes as usize + S::HEAD * pieces as usize);
    }

    /// Symbols and heads there are: what a pass over the words costs.
    pub fn len(&self) -> usize {
        self.flat.len() + self.giants.len()
    }

    /// Calls `pair(posting, left, right, count)` for each two neighbours.
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
        self.giants
            .for_each_pair(|place, left, right, count| pair(place | GIANT, left, right, count));
    }

    /// Moves the words together, without those that became one token. Postings are void thereafter.
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

    /// Joins the pair wherever it occurs at the postings, and notes the pairs that come about.
    pub fn join(&mut self, postings: &[u32], merge: Merge, left: &mut Gains, right: &mut Gains) {
        for block in postings.chunks(AHEAD) {
            self.touch(block);
            for &posting in block {
                if posting & GIANT == 0 {
                    self.join_word(posting, merge, left, right);
                } else {
                    self.join_giant(posting, merge, left, right);
                }
            }
        }
    }

    /// Reads the words' first and later cache lines without waiting for one before asking for the next, so that what
    /// follows finds them near. Without this, two thirds of the time of merging is spent waiting for memory.
    #[inline]
    fn touch(&self, postings: &[u32]) {
        let at = |place: usize| self.flat.get(place).map_or(0, |symbol| symbol.id());
        let sum = postings.iter().fold(0, |sum, &posting| {
            sum ^ at(posting as usize) ^ at(posting as usize + LINE / size_of::<S>())
        });
        std::hint::black_box(sum);
    }

    fn join_giant(&mut self, posting: u32, merge: Merge, left: &mut Gains, right: &mut Gains) {
        let Some(joined) = self.giants.join(posting & !GIANT, merge) else {
            return;
        };
        if let Some((id, place)) = joined.before {
            left.add(id, place | GIANT, joined.count);
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
        let tokens = &mut tokens[..len];
        let [l, r, joined] = [merge.left, merge.right, merge.joined].map(S::of);
        let Some(first) = tokens.windows(2).position(|two| two[0] == l && two[1] == r) else {
            return;
        };
        let (mut from, mut to) = (first, first);
        while from < len {
            if tokens[from] == l && from + 1 < len && tokens[from + 1] == r {
                if to > 0 {
                    left.add(tokens[to - 1].id(), at, count);
                }
                if from + 2 < len {
                    right.add(tokens[from + 2].id(), at, count);
                }
                tokens[to] = joined;
                from += 2;
            } else {
                tokens[to] = tokens[from];
                from += 1;
            }
            to += 1;
        }
        S::set_len(head, to);
    }
}
