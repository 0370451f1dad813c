//! Pieces and their counts in open-addressed tables: no allocation per piece, growth by half, linear probing.

use crate::keyed::Keys;
use crate::scan::prefetch;
use crate::short_key::ShortKey;

/// A short piece and how often it came; a count of 0 marks a free slot.
#[derive(Clone, Copy)]
pub struct Counted {
    /// The piece.
    pub key: ShortKey,
    /// How often it came.
    pub count: u64,
}

impl Counted {
    /// A slot without a piece.
    pub const FREE: Self = Self {
        key: ShortKey { low: 0, high: 0 },
        count: 0,
    };
}

/// Slots a table begins with.
const LEAST: usize = 64;

/// The place a hash of 32 bits starts to probe at among `slots`.
#[inline]
fn home(hash: u32, slots: usize) -> usize {
    ((u64::from(hash) * slots as u64) >> 32) as usize
}

/// Whether one more entry would fill the slots beyond four fifths.
#[inline]
fn is_full(used: usize, slots: usize) -> bool {
    (used + 1) * 5 > slots * 4
}

/// Pieces of at most [`ShortKey::MOST`] bytes.
#[derive(Default)]
pub struct ShortTable {
    slots: Vec<Counted>,
    used: usize,
    /// Bytes of the pieces.
    text: u64,
    keys: Keys,
}

impl ShortTable {
    /// Adds `count` occurrences of a piece.
    #[inline]
    pub fn add(&mut self, key: ShortKey, count: u64) {
        if is_full(self.used, self.slots.len()) {
            self.grow();
        }
        let slot = Self::find(&mut self.slots, self.keys, key);
        if slot.count == 0 {
            slot.key = key;
            self.used += 1;
            self.text += key.len() as u64;
        }
        slot.count = slot.count.saturating_add(count);
    }

    /// Asks for the memory that [`ShortTable::add`] will look at.
    #[inline]
    pub fn ask_for(&self, key: ShortKey) {
        prefetch(&self.slots, Self::home(&self.slots, self.keys, key));
    }

    #[inline]
    fn home(slots: &[Counted], keys: Keys, key: ShortKey) -> usize {
        home(
            (keys.hash_words(key.low, key.high) >> 16) as u32,
            slots.len(),
        )
    }

    #[inline]
    fn find(slots: &mut [Counted], keys: Keys, key: ShortKey) -> &mut Counted {
        let mut at = Self::home(slots, keys, key);
        while slots[at].count != 0 && slots[at].key != key {
            at += 1;
            if at == slots.len() {
                at = 0;
            }
        }
        &mut slots[at]
    }

    fn grow(&mut self) {
        let larger = (self.slots.len() / 2 * 3).max(LEAST);
        let old = std::mem::replace(&mut self.slots, vec![Counted::FREE; larger]);
        for counted in old.into_iter().filter(|counted| counted.count > 0) {
            *Self::find(&mut self.slots, self.keys, counted.key) = counted;
        }
    }

    /// Every piece with its count.
    pub fn iter(&self) -> impl Iterator<Item = &Counted> {
        self.slots.iter().filter(|counted| counted.count > 0)
    }

    /// How many pieces there are.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Bytes of all pieces.
    pub fn text_bytes(&self) -> u64 {
        self.text
    }

    /// Memory taken.
    pub fn memory_bytes(&self) -> u64 {
        (self.slots.len() * size_of::<Counted>()) as u64
    }
}

/// Where a long piece begins in the text of its table (it ends where the next one begins), and how often it came.
struct Long {
    start: u64,
    count: u64,
}

/// Pieces of any length, their bytes end to end in one buffer.
#[derive(Default)]
pub struct LongTable {
    /// High half: 32 bits of the hash; low half: number of the piece, from 1. 0 is a free slot.
    slots: Vec<u64>,
    pieces: Vec<Long>,
    text: Vec<u8>,
}

/// A well-mixed number for a long piece, that nobody outside of this process knows.
#[inline]
pub fn hash_long(piece: &[u8]) -> u64 {
    Keys::default().hash(piece)
}

impl LongTable {
    /// Adds `count` occurrences of a piece whose [`hash_long`] is `hash`.
    pub fn add(&mut self, hash: u64, piece: &[u8], count: u64) {
        if is_full(self.pieces.len(), self.slots.len()) {
            self.grow();
        }
        let tag = (hash >> 16) as u32;
        let mut at = home(tag, self.slots.len());
        while self.slots[at] != 0 {
            let number = (self.slots[at] as u32 - 1) as usize;
            if (self.slots[at] >> 32) as u32 == tag && self.piece(number) == piece {
                let held = &mut self.pieces[number].count;
                *held = held.saturating_add(count);
                return;
            }
            at = if at + 1 == self.slots.len() {
                0
            } else {
                at + 1
            };
        }
        let start = self.text.len() as u64;
        self.text.extend_from_slice(piece);
        self.pieces.push(Long { start, count });
        self.slots[at] = u64::from(tag) << 32 | self.pieces.len() as u64;
    }

    fn piece(&self, number: usize) -> &[u8] {
        let end = self
            .pieces
            .get(number + 1)
            .map_or(self.text.len(), |next| next.start as usize);
        &self.text[self.pieces[number].start as usize..end]
    }

    fn grow(&mut self) {
        let larger = (self.slots.len() / 2 * 3).max(LEAST);
        let old = std::mem::replace(&mut self.slots, vec![0; larger]);
        for slot in old.into_iter().filter(|&slot| slot != 0) {
            let mut at = home((slot >> 32) as u32, larger);
            while self.slots[at] != 0 {
                at = if at + 1 == larger { 0 } else { at + 1 };
            }
            self.slots[at] = slot;
        }
    }

    /// Every piece with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        (0..self.pieces.len()).map(|number| (self.piece(number), self.pieces[number].count))
    }

    /// How many pieces there are.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Bytes of all pieces.
    pub fn text_bytes(&self) -> u64 {
        self.text.len() as u64
    }

    /// Memory taken.
    pub fn memory_bytes(&self) -> u64 {
        let pieces = self.pieces.capacity() * size_of::<Long>();
        (self.slots.len() * size_of::<u64>() + pieces + self.text.capacity()) as u64
    }
}
