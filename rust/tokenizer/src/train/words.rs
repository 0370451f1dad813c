//! The distinct pieces as one long list of symbols, linked within each piece, so that a merge costs what it changes.

use super::count::PieceCounts;

/// "No neighbour in this piece."
pub const END: u32 = u32::MAX;

/// A symbol of a piece.
#[derive(Clone, Copy)]
pub struct Symbol {
    /// Its token.
    pub id: u32,
    /// Number of its piece.
    pub word: u32,
    /// Place of the symbol before it, [`END`] at the beginning of a piece.
    pub previous: u32,
    /// Place of the symbol after it, [`END`] at the end of a piece.
    pub next: u32,
}

/// Every distinct piece.
#[derive(Default)]
pub struct Words {
    /// The symbols of all pieces, end to end. One that was joined to its left is dead: its id is [`END`].
    pub symbols: Vec<Symbol>,
    /// How often each piece occurs.
    pub counts: Vec<u64>,
}

impl Words {
    /// The pieces counted, each byte a symbol. Pieces of one byte have no pair and are left out.
    pub fn of(counts: &PieceCounts, bytes: &[u32; 256]) -> Self {
        let mut words = Self::default();
        counts.for_each_sorted(|piece, count| {
            if piece.len() > 1 {
                words.push(piece, count, bytes);
            }
        });
        words
    }

    fn push(&mut self, piece: &[u8], count: u64, bytes: &[u32; 256]) {
        let word = self.counts.len() as u32;
        let first = self.symbols.len() as u32;
        let last = first + piece.len() as u32 - 1;
        self.symbols
            .extend((first..).zip(piece).map(|(place, &byte)| Symbol {
                id: bytes[usize::from(byte)],
                word,
                previous: if place == first { END } else { place - 1 },
                next: if place == last { END } else { place + 1 },
            }));
        self.counts.push(count);
    }

    /// Whether `left` and `right` still stand side by side at `place`.
    #[inline]
    pub fn holds(&self, place: u32, left: u32, right: u32) -> bool {
        let symbol = self.symbols[place as usize];
        symbol.id == left
            && self
                .symbols
                .get(symbol.next as usize)
                .is_some_and(|next| next.id == right)
    }
}
