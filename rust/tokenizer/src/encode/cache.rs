//! Cache of short pre-tokens and their tokens: a fixed table of lines of three slots.
//!
//! Its size never changes (6 MiB, and one for the most frequent pre-tokens), and it compares whole keys, so that it affects how
//! long encoding takes and never the result.

use crate::encode::front::{self, Front};
use crate::memory::Zeroed;
use crate::scan::prefetch;
use crate::short_key::ShortKey;

/// Lines: 6 MiB.
const LINES: usize = 3 << 15;
/// Bytes of a line, which is one of the processor's cache lines.
const LINE: usize = 64;
/// Slots of a line. Each has five bytes for two tokens and sixteen for a key. A line has the tokens first, then one unused byte,
/// then the keys.
const SLOTS: usize = 3;

/// Bits of a token that is stored.
const TOKEN_BITS: u32 = 20;
const TOKEN: u64 = (1 << TOKEN_BITS) - 1;

/// The bits of a key's last byte, of which the length needs only half, that store the number of tokens minus one.
const COUNT_SHIFT: u32 = 62;
/// A key with this bit belongs to a pre-token whose tokens do not fit into its slot. It is in the second slot of a line; the
/// third slot has the remaining tokens: three in the first word of its key, two and the total number in the second word, and two
/// in its own token field.
const MANY: u64 = 1 << 61;
/// The maximum number of tokens of such a pre-token.
const MAX_MANY: usize = 9;
/// The remaining bits of that second word: the number of tokens, and a bit that no key has.
const REST_COUNT_SHIFT: u32 = 48;
const REST: u64 = 1 << 60;

/// The bits of a key's second word that do not belong to the key, by the pre-token's length: the count, and the unused bytes
/// after a pre-token that is short enough for a third token (12) and a fourth (8) to fit there.
const NOT_KEY: [u64; 16] = not_key();
/// Positions of the third and the fourth token in that word.
const THIRD_SHIFT: u32 = 32;
const FOURTH_SHIFT: u32 = 0;
/// The maximum number of bytes of a pre-token with 1, 2, 3, 4 tokens.
const MAX_BYTES: [usize; PreTokenCache::MAX_TOKENS] =
    [ShortKey::MAX_BYTES, ShortKey::MAX_BYTES, 12, 8];

const fn not_key() -> [u64; 16] {
    let mut masks = [3 << COUNT_SHIFT; 16];
    let mut len = 0;
    while len <= MAX_BYTES[2] {
        masks[len] |= TOKEN << THIRD_SHIFT;
        if len <= MAX_BYTES[3] {
            masks[len] |= TOKEN << FOURTH_SHIFT;
        }
        len += 1;
    }
    masks
}

/// One in `INSERTIONS_PER_EVICTION` insertions evicts a pre-token from its line's first slots; the others take the last slot of
/// the other line. So a text that repeats, with more distinct pre-tokens than slots, still finds most of them (bimodal insertion:
/// Qureshi et al., *Adaptive Insertion Policies for High Performance Caching*, 2007).
const INSERTIONS_PER_EVICTION: u32 = 16;

/// The tokens of a pre-token.
#[derive(Clone, Copy)]
pub struct Tokens {
    /// Their number.
    pub count: usize,
    /// The ids; those beyond the count are meaningless.
    pub ids: [u32; PreTokenCache::MAX_TOKENS],
}

/// The cache. Each encoding thread has its own.
///
/// A pre-token is in one of two lines. The first one is searched immediately ([`Lines::get`]); a few pre-tokens had no space
/// there and are in the second, or have more tokens than a slot holds ([`PreTokenCache::look_again`]).
pub struct PreTokenCache {
    /// The front table, then the lines.
    table: Zeroed,
    /// The number of insertions and moves so far.
    changes: u32,
}

impl Default for PreTokenCache {
    /// An empty cache; its memory is touched only as it fills.
    fn default() -> Self {
        Self {
            table: Zeroed::of(front::BYTES + LINES * LINE),
            changes: 0,
        }
    }
}

/// The lines, for lookups.
#[derive(Clone, Copy)]
pub struct Lines<'c>(&'c [[u8; LINE]]);

/// Tokens and key of a pre-token as stored in a slot.
#[derive(Clone, Copy)]
struct Slot {
    tokens: u64,
    key: ShortKey,
}

impl PreTokenCache {
    /// The maximum number of tokens in a slot.
    pub const MAX_TOKENS: usize = 4;

    /// The lines, for lookups.
    #[inline]
    pub fn lines(&self) -> Lines<'_> {
        Lines(self.table[front::BYTES..].as_chunks().0)
    }

    /// The table of the most frequent pre-tokens.
    #[inline]
    pub fn front(&self) -> Front<'_> {
        Front::of(&self.table[..front::BYTES])
    }

    /// Stores a pre-token in the front table, if it has few enough ids.
    #[inline]
    pub fn put_in_front(&mut self, key: ShortKey, ids: &[u32]) {
        front::put(&mut self.table[..front::BYTES], key, ids);
    }

    /// Appends the tokens of `key`, which [`Lines::get`] did not find at its [`Lines::place`], if they are stored elsewhere.
    #[inline]
    pub fn look_again(&mut self, place: u32, key: ShortKey, ids: &mut Vec<u32>) -> bool {
        let Self { table, changes, .. } = self;
        let lines = lines_of(table);
        let (first, second) = (place as usize, second_place(key));
        if append_many(&lines[first], key, ids) {
            return true;
        }
        let Some(tokens) = get(&lines[second], key) else {
            return append_many(&lines[second], key, ids);
        };
        ids.extend_from_slice(&tokens.ids[..tokens.count]);
        // A frequent pre-token gets into the first line sooner or later.
        if evicts_first(changes) && !has_many(&lines[first]) {
            let at = find(&lines[second], key);
            let found = slot(&lines[second], at);
            put(&mut lines[second], at, Slot::FREE);
            put(&mut lines[first], SLOTS - 1, found);
        }
        true
    }

    /// Stores the tokens of `key`, which is not in the cache, unless there are too many or one is too large.
    #[inline]
    pub fn insert(&mut self, place: u32, key: ShortKey, ids: &[u32]) {
        let Self { table, changes, .. } = self;
        let lines = lines_of(table);
        let (first, second) = (place as usize, second_place(key));
        if ids.iter().any(|id| u64::from(*id) > TOKEN) {
            return;
        }
        if !fits(key, ids.len()) {
            if (1..=MAX_MANY).contains(&ids.len()) {
                let has_room = (1..SLOTS).all(|at| slot(&lines[first], at).is_free());
                put_many(&mut lines[if has_room { first } else { second }], key, ids);
            }
            return;
        }
        let new = Slot::of(key, ids);
        for line in [first, second] {
            if let Some(free) = (0..SLOTS).find(|&at| slot(&lines[line], at).is_free()) {
                return put(&mut lines[line], free, new);
            }
        }
        if evicts_first(changes) {
            push_in_front(&mut lines[first], new);
        } else {
            replace_last(&mut lines[second], new);
        }
    }
}

#[inline]
fn lines_of(table: &mut [u8]) -> &mut [[u8; LINE]] {
    table[front::BYTES..].as_chunks_mut().0
}

/// Counts a change, and returns whether it is one in `INSERTIONS_PER_EVICTION`.
fn evicts_first(changes: &mut u32) -> bool {
    *changes = changes.wrapping_add(1);
    changes.is_multiple_of(INSERTIONS_PER_EVICTION)
}

/// Whether `count` tokens of a pre-token fit into its slot.
fn fits(key: ShortKey, count: usize) -> bool {
    let max = MAX_BYTES.get(count.wrapping_sub(1));
    max.is_some_and(|max| key.len() <= *max)
}

impl Slot {
    /// A free slot.
    const FREE: Self = Self {
        tokens: 0,
        key: ShortKey { low: 0, high: 0 },
    };

    /// The slot of a pre-token whose tokens fit.
    fn of(key: ShortKey, ids: &[u32]) -> Self {
        let id = |place: usize| u64::from(ids.get(place).copied().unwrap_or(0));
        let high = key.high
            | (ids.len() as u64 - 1) << COUNT_SHIFT
            | id(2) << THIRD_SHIFT
            | id(3) << FOURTH_SHIFT;
        Self {
            tokens: id(0) | id(1) << TOKEN_BITS,
            key: ShortKey { high, ..key },
        }
    }

    #[inline(always)]
    fn is_free(self) -> bool {
        self.key.high == 0
    }
}

/// Whether one pre-token occupies a line's last two slots.
#[inline]
fn has_many(line: &[u8; LINE]) -> bool {
    slot(line, 1).key.high & MANY != 0
}

/// Appends the tokens of `key` if they are in this line's last two slots.
#[inline]
fn append_many(line: &[u8; LINE], key: ShortKey, ids: &mut Vec<u32>) -> bool {
    let (
        Slot { tokens, key: kept },
        Slot {
            tokens: last,
            key: rest,
        },
    ) = (slot(line, 1), slot(line, 2));
    let is_kept = kept.low == key.low && kept.high == key.high | MANY;
    if is_kept {
        let token = |word: u64, at: u32| (word >> (at * TOKEN_BITS) & TOKEN) as u32;
        let all = [
            token(tokens, 0),
            token(tokens, 1),
            token(rest.low, 0),
            token(rest.low, 1),
            token(rest.low, 2),
            token(rest.high, 0),
            token(rest.high, 1),
            token(last, 0),
            token(last, 1),
        ];
        let count = (rest.high >> REST_COUNT_SHIFT) as usize % 16;
        ids.extend_from_slice(&all[..count]);
    }
    is_kept
}

/// Stores a pre-token in a line's last two slots.
fn put_many(line: &mut [u8; LINE], key: ShortKey, ids: &[u32]) {
    let id = |place: usize, at: u32| {
        u64::from(ids.get(place).copied().unwrap_or(0)) << (at * TOKEN_BITS)
    };
    let pre_token = Slot {
        tokens: id(0, 0) | id(1, 1),
        key: ShortKey {
            high: key.high | MANY,
            ..key
        },
    };
    let rest = Slot {
        tokens: id(7, 0) | id(8, 1),
        key: ShortKey {
            low: id(2, 0) | id(3, 1) | id(4, 2),
            high: REST | (ids.len() as u64) << REST_COUNT_SHIFT | id(5, 0) | id(6, 1),
        },
    };
    put(line, 1, pre_token);
    put(line, 2, rest);
}

/// Stores a pre-token in a line's first slot, and shifts the others.
fn push_in_front(line: &mut [u8; LINE], new: Slot) {
    let [first, second] = [0, 1].map(|at| slot(line, at));
    let second = if has_many(line) { Slot::FREE } else { second };
    for (at, slot) in [new, first, second].into_iter().enumerate() {
        put(line, at, slot);
    }
}

/// Stores a pre-token in a line's last slot.
fn replace_last(line: &mut [u8; LINE], new: Slot) {
    if has_many(line) {
        put(line, 1, Slot::FREE);
    }
    put(line, SLOTS - 1, new);
}

impl Lines<'_> {
    /// The line that is searched first for `key`; prefetches it for [`Lines::get`].
    #[inline]
    pub fn place(self, key: ShortKey) -> u32 {
        let place = scaled(key.hash() >> 32);
        prefetch(self.0, place);
        place as u32
    }

    /// The tokens of `key`, whose [`Lines::place`] is given, if they are stored there.
    #[inline]
    pub fn get(self, place: u32, key: ShortKey) -> Option<Tokens> {
        get(self.0.get(place as usize)?, key)
    }
}

/// The slot of `key` in a line, or the last one.
#[inline(always)]
fn find(line: &[u8; LINE], key: ShortKey) -> usize {
    let differs = |at: usize| usize::from(!is(slot(line, at).key, key));
    // No branch on which one it is: that is unpredictable.
    differs(0) + (differs(0) & differs(1))
}

/// Whether a slot's key is this one.
#[inline(always)]
fn is(kept: ShortKey, key: ShortKey) -> bool {
    let not_key = NOT_KEY[(key.high >> 56) as usize % NOT_KEY.len()];
    (kept.low ^ key.low) | ((kept.high ^ key.high) & !not_key) == 0
}

#[inline(always)]
fn get(line: &[u8; LINE], key: ShortKey) -> Option<Tokens> {
    let Slot { tokens, key: kept } = slot(line, find(line, key));
    // Two tokens at a time: one wide store each.
    let first = tokens & TOKEN | (tokens << (32 - TOKEN_BITS)) & TOKEN << 32;
    let third = kept.high.rotate_right(THIRD_SHIFT) & (TOKEN | TOKEN << 32);
    is(kept, key).then_some(Tokens {
        count: 1 + (kept.high >> COUNT_SHIFT) as usize,
        ids: [
            first as u32,
            (first >> 32) as u32,
            third as u32,
            (third >> 32) as u32,
        ],
    })
}

/// The content of slot `at` of a line; all zero if it is free.
#[inline(always)]
fn slot(line: &[u8; LINE], at: usize) -> Slot {
    let word = |start: usize| {
        let bytes = line[start..].first_chunk();
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    let (tokens, key) = places(at);
    Slot {
        tokens: word(tokens) & (TOKEN << TOKEN_BITS | TOKEN),
        key: ShortKey {
            low: word(key),
            high: word(key + 8),
        },
    }
}

fn put(line: &mut [u8; LINE], at: usize, slot: Slot) {
    let (tokens, key) = places(at);
    line[tokens..tokens + 5].copy_from_slice(&slot.tokens.to_le_bytes()[..5]);
    line[key..key + 8].copy_from_slice(&slot.key.low.to_le_bytes());
    line[key + 8..key + 16].copy_from_slice(&slot.key.high.to_le_bytes());
}

/// Where the tokens and the key of a slot begin.
#[inline(always)]
fn places(at: usize) -> (usize, usize) {
    (5 * at, 16 * (at + 1))
}

/// The number of a line from 32 bits of a hash.
#[inline(always)]
fn scaled(bits: u64) -> usize {
    ((bits * LINES as u64) >> 32) as usize
}

#[inline]
fn second_place(key: ShortKey) -> usize {
    scaled(key.hash() & u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pre_token: &[u8]) -> ShortKey {
        ShortKey::of(pre_token, 0, pre_token.len())
    }

    /// The tokens of a pre-token, looked up as encoding does.
    fn found(cache: &mut PreTokenCache, key: ShortKey) -> Option<Vec<u32>> {
        let lines = cache.lines();
        let place = lines.place(key);
        let list = |tokens: Tokens| tokens.ids[..tokens.count].to_vec();
        lines.get(place, key).map(list).or_else(|| {
            let mut ids = vec![9];
            let is_known = cache.look_again(place, key, &mut ids);
            assert_eq!(ids.len() > 1, is_known);
            is_known.then(|| ids.split_off(1))
        })
    }

    fn insert(cache: &mut PreTokenCache, key: ShortKey, ids: &[u32]) {
        let place = cache.lines().place(key);
        cache.insert(place, key, ids);
    }

    #[test]
    fn a_cache_returns_exactly_what_was_stored() {
        let pre_token = b"a piece's text!";
        for len in 1..=ShortKey::MAX_BYTES {
            for count in 1..=MAX_MANY as u32 + 1 {
                let mut cache = PreTokenCache::default();
                let ids: Vec<u32> = (0..count).map(|at| TOKEN as u32 - at).collect();
                let key = key(&pre_token[..len]);
                assert_eq!(found(&mut cache, key), None);
                insert(&mut cache, key, &ids);
                let expected = (ids.len() <= MAX_MANY).then_some(ids);
                assert_eq!(found(&mut cache, key), expected, "{len} bytes");
            }
        }
    }

    #[test]
    fn pre_tokens_that_differ_in_one_byte_are_distinct() {
        let mut cache = PreTokenCache::default();
        for len in 1..=ShortKey::MAX_BYTES {
            let pre_token = vec![0; len];
            insert(
                &mut cache,
                key(&pre_token),
                &[7; 4][..if len <= 8 { 4 } else { 1 }],
            );
            for at in 0..len {
                let mut other = pre_token.clone();
                other[at] = 1;
                assert_eq!(found(&mut cache, key(&other)), None);
            }
        }
    }

    #[test]
    fn tokens_above_the_limit_are_not_cached() {
        let mut cache = PreTokenCache::default();
        insert(&mut cache, key(b"piece"), &[1 << TOKEN_BITS]);
        assert_eq!(found(&mut cache, key(b"piece")), None);
    }

    /// Tokens that belong to this pre-token only: one to ten of them, each with the pre-token's number.
    fn tokens(number: u32) -> Vec<u32> {
        let count = 1 + number % 10;
        (0..count)
            .map(|at| (number * 10 + at) & TOKEN as u32)
            .collect()
    }

    #[test]
    fn a_stream_larger_than_the_cache_leaves_most_entries_in_place() {
        let mut cache = PreTokenCache::default();
        let pre_tokens = 0..(2 * SLOTS * LINES) as u32;
        let key = |number: u32| {
            key(&[
                &number.to_le_bytes()[..],
                &b"of a piece"[..number as usize % 11],
            ]
            .concat())
        };
        for _ in 0..2 {
            for number in pre_tokens.clone() {
                match found(&mut cache, key(number)) {
                    Some(ids) => assert_eq!(ids, tokens(number)),
                    None => insert(&mut cache, key(number), &tokens(number)),
                }
            }
        }
        let known =
            pre_tokens.filter_map(|number| found(&mut cache, key(number)).map(|ids| (number, ids)));
        let known: Vec<_> = known.collect();
        assert!(known.iter().all(|(number, ids)| *ids == tokens(*number)));
        assert!(known.len() > LINES);
    }
}
