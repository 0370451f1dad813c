//! Pre-tokens of hundreds of bytes and more, as linked lists of tokens, so that the cost of a join does not depend on their
//! length.

use crate::model::Merge;

/// "No neighbor in this pre-token."
const END: u32 = u32::MAX;

/// A token of a pre-token.
#[derive(Clone, Copy)]
struct Token {
    /// Its id; [`END`] once it is joined to its left neighbor.
    id: u32,
    /// The number of its pre-token.
    pre_token: u32,
    /// Position of the previous token, [`END`] at the beginning of a pre-token.
    previous: u32,
    /// Position of the next token, [`END`] at the end of a pre-token.
    next: u32,
}

/// The neighbors of a joined pair.
pub struct Joined {
    /// Id and position of the previous token, if there is one.
    pub before: Option<(u32, u32)>,
    /// Id of the next token, if there is one.
    pub after: Option<u32>,
    /// The count of the pre-token.
    pub count: u64,
}

/// The long pre-tokens, concatenated.
#[derive(Default)]
pub struct LongWords {
    tokens: Vec<Token>,
    counts: Vec<u64>,
}

impl LongWords {
    /// Adds a pre-token.
    pub fn push(&mut self, ids: impl ExactSizeIterator<Item = u32>, count: u64) {
        let pre_token = self.counts.len() as u32;
        let first = self.tokens.len() as u32;
        let last = first + ids.len() as u32 - 1;
        self.tokens
            .extend((first..).zip(ids).map(|(place, id)| Token {
                id,
                pre_token,
                previous: if place == first { END } else { place - 1 },
                next: if place == last { END } else { place + 1 },
            }));
        self.counts.push(count);
    }

    /// The initial number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Calls `pair(place, left, right, count)` for each two neighbors, from left to right.
    pub fn for_each_pair(&self, mut pair: impl FnMut(u32, u32, u32, u64)) {
        for (place, token) in self.tokens.iter().enumerate() {
            if token.id != END && token.next != END {
                let right = self.tokens[token.next as usize].id;
                pair(
                    place as u32,
                    token.id,
                    right,
                    self.counts[token.pre_token as usize],
                );
            }
        }
    }

    /// Joins the pair at `place`, if it is still there.
    pub fn join(&mut self, place: u32, merge: Merge) -> Option<Joined> {
        let Token {
            id,
            pre_token,
            previous,
            next: absorbed,
        } = self.tokens[place as usize];
        if id != merge.left || self.tokens.get(absorbed as usize)?.id != merge.right {
            return None;
        }
        let next = self.tokens[absorbed as usize].next;
        self.tokens[absorbed as usize].id = END;
        self.tokens[place as usize].id = merge.joined;
        self.tokens[place as usize].next = next;
        let after = self.tokens.get_mut(next as usize).map(|after| {
            after.previous = place;
            after.id
        });
        let before = self.tokens.get(previous as usize);
        Some(Joined {
            before: before.map(|before| (before.id, previous)),
            after,
            count: self.counts[pre_token as usize],
        })
    }
}
