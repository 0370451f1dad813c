//! Encoding a piece from its longest tokens, one border at a time, with a way back.

use super::{MergeBuffers, NONE, PieceMerger, count};

/// Borders at which no encoding can go on.
trait Dead {
    fn is_dead(&self, place: usize) -> bool;
    fn bury(&mut self, place: usize);
}

/// Of a piece of fewer than 64 bytes.
impl Dead for u64 {
    #[inline]
    fn is_dead(&self, place: usize) -> bool {
        *self >> (place % 64) & 1 == 1
    }

    #[inline]
    fn bury(&mut self, place: usize) {
        *self |= 1 << (place % 64);
    }
}

impl Dead for Vec<u64> {
    #[inline]
    fn is_dead(&self, place: usize) -> bool {
        self[place / 64].is_dead(place)
    }

    #[inline]
    fn bury(&mut self, place: usize) {
        self[place / 64].bury(place);
    }
}

/// Words of the bit field that are kept for the next piece: enough for one of 64 KiB.
const WORDS_KEPT: usize = 1 << 10;

impl PieceMerger {
    /// Appends the ids of a piece that is no token as a whole and begins with `first` at the longest.
    pub(super) fn append_parts(
        &self,
        piece: &[u8],
        first: u32,
        buffers: &mut MergeBuffers,
        ids: &mut Vec<u32>,
    ) {
        let before = ids.len();
        if piece.len() < 64 {
            self.search(piece, first, &mut 0_u64, buffers, ids);
        } else {
            let mut dead = std::mem::take(&mut buffers.dead);
            dead.clear();
            dead.resize(piece.len() / 64 + 1, 0);
            self.search(piece, first, &mut dead, buffers, ids);
            dead.truncate(WORDS_KEPT);
            dead.shrink_to(WORDS_KEPT);
            buffers.dead = dead;
        }
        for id in &mut ids[before..] {
            *id = self.ids[*id as usize];
        }
    }

    /// Appends the numbers of the piece's tokens to `found`, which is also the way back.
    fn search(
        &self,
        piece: &[u8],
        first: u32,
        dead: &mut impl Dead,
        buffers: &mut MergeBuffers,
        found: &mut Vec<u32>,
    ) {
        let before = found.len();
        let (mut at, mut token) = (0, self.part(first));
        while at < piece.len() {
            let last = (found.len() > before).then(|| found[found.len() - 1]);
            match self.fitting(last, token, at, dead, buffers) {
                Some(fitting) => {
                    found.push(fitting);
                    at += self.len(fitting);
                    token = self.longest(&piece[at..], buffers);
                }
                None => {
                    dead.bury(at);
                    let Some(last) = found.pop() else {
                        // Every beginning of a piece has an encoding, so some token fits at its start. If that were wrong,
                        // bytes are better than nothing.
                        debug_assert!(false, "no token begins {piece:?}");
                        let bytes = piece.iter().map(|&byte| self.trie.longest(&[byte]).0);
                        return found.extend(bytes);
                    };
                    at -= self.len(last);
                    token = self.tokens[last as usize].prefix;
                }
            }
        }
    }

    /// The longest of `token` and the tokens it begins with that goes with `last` and ends where the encoding can go on.
    #[inline]
    fn fitting(
        &self,
        last: Option<u32>,
        mut token: u32,
        at: usize,
        dead: &impl Dead,
        buffers: &mut MergeBuffers,
    ) -> Option<u32> {
        while token != NONE {
            if let Some(last) = last {
                token = self.going_with(last, token, buffers);
                if token == NONE {
                    break;
                }
            }
            if !dead.is_dead(at + self.len(token)) {
                return Some(token);
            }
            token = self.tokens[token as usize].prefix;
        }
        None
    }

    /// The longest of `token` and the tokens it begins with that goes with `last`, or [`NONE`].
    #[inline]
    pub(super) fn going_with(&self, last: u32, token: u32, buffers: &mut MergeBuffers) -> u32 {
        let MergeBuffers {
            memo,
            merging,
            steps,
            ..
        } = buffers;
        count(steps, 1);
        let signs = |number: u32| self.tokens[number as usize].signs;
        if signs(last).are_apart(signs(token)) {
            return token;
        }
        memo.get(last, token, || {
            let mut token = token;
            while token != NONE && !self.check.holds(&self.tokens, last, token, merging) {
                count(steps, 1);
                token = self.tokens[token as usize].prefix;
            }
            token
        })
    }

    /// The longest token that `text` begins with and merging arrives at; [`NONE`] at the end.
    #[inline]
    pub(super) fn longest(&self, text: &[u8], buffers: &mut MergeBuffers) -> u32 {
        if text.is_empty() {
            return NONE;
        }
        let (number, steps) = self.trie.longest(text);
        count(&mut buffers.steps, steps);
        self.part(number)
    }

    /// `number`, or the longest token it begins with that is not met only as a whole piece.
    #[inline]
    fn part(&self, number: u32) -> u32 {
        if number < self.whole_from {
            number
        } else {
            self.tokens[number as usize].prefix
        }
    }

    #[inline]
    fn len(&self, number: u32) -> usize {
        self.tokens[number as usize].len as usize
    }
}
