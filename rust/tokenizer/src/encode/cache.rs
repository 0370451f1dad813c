//! Short pre-tokens met before, with their tokens: a fixed table of lines of three slots.
//!
//! Its size never changes (6 MiB, and one for the most frequent pre-tokens), and it holds whole keys, so that it can change how long encoding takes and never what
//! comes out.

use crate::encode::front::{self, Front};
use crate::memory::Zeroed;
use crate::scan::prefetch;
use crate::short_key::ShortKey;

/// Lines: 6 MiB.
const LINES: usize = 3 << 15;
/// Bytes of a line, which is one of the processor's cache lines.
const LINE: usize = 64;
/// Slots of a line. Each has five bytes for two tokens and sixteen for a key: tokens first, one byte that is free, then keys.
const SLOTS: usize = 3;

/// Bits of a token that is kept.
const TOKEN_BITS: u32 = 20;
const TOKEN: u64 = (1 << TOKEN_BITS) - 1;

/// Where a slot has the number of its tokens, less one: in the last byte of the key, of which the length needs half.
const COUNT_SHIFT: u32 = 62;
/// A key with this bit is of a pre-token whose tokens do not fit into its slot. It is a line's second; the third has the rest of them:
/// three in the first word of its key, two in the second, and how many there are in all, and two in its own place.
const MANY: u64 = 1 << 61;
/// Tokens of such a pre-token.
const MAX_MANY: usize = 9;
/// What the second word of the rest has beside its tokens: their number, and a bit that no key has.
const REST_COUNT_SHIFT: u32 = 48;
const REST: u64 = 1 << 60;

/// The bits of a key's second word that are not the key's, by the pre-token's length: the count, and the bytes behind a pre-token of so
/// few bytes that a third token (12) and a fourth (8) have room there.
const NOT_KEY: [u64; 16] = not_key();
/// Where the third and the fourth token are in that word.
const THIRD_SHIFT: u32 = 32;
const FOURTH_SHIFT: u32 = 0;
/// Bytes of the longest pre-token that can have so many tokens (1, 2, 3, 4).
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

/// One newcomer of so many takes the place of a pre-token that has its line's first slots; the others have the last slot of the other
/// line in turn. So text that comes round and round, with more pre-tokens than there are slots, still finds most of them (bimodal
/// insertion: Qureshi et al., *Adaptive Insertion Policies for High Performance Caching*, 2007).
const NEWCOMERS: u32 = 16;

/// The tokens of a pre-token.
#[derive(Clone, Copy)]
pub struct Tokens {
    /// How many there are.
    pub count: usize,
    /// The ids; those beyond the count mean nothing.
    pub ids: [u32; PreTokenCache::MAX_TOKENS],
}

/// The table. One per thread that encodes.
///
/// A pre-token is in one of two lines. In the first one it is looked for at once ([`Lines::get`]); few have found no room there and are
/// in the second, or have more tokens than a slot holds ([`PreTokenCache::look_again`]).
pub struct PreTokenCache {
    /// The front, then the lines.
    table: Zeroed,
    /// Pre-tokens put in, or moved, so far.
    changes: u32,
}

impl Default for PreTokenCache {
    /// An empty one; its memory is touched only as it fills.
    fn default() -> Self {
        Self {
            table: Zeroed::of(front::BYTES + LINES * LINE),
            changes: 0,
        }
    }
}

/// A table to look pre-tokens up in.
#[derive(Clone, Copy)]
pub struct Lines<'c>(&'c [[u8; LINE]]);

/// Tokens and key of a pre-token as a slot has them.
#[derive(Clone, Copy)]
struct Slot {
    tokens: u64,
    key: ShortKey,
}

impl PreTokenCache {
    /// Tokens a slot holds.
    pub const MAX_TOKENS: usize = 4;

    /// The table to look pre-tokens up in.
    #[inline]
    pub fn lines(&self) -> Lines<'_> {
        Lines(self.table[front::BYTES..].as_chunks().0)
    }

    /// The table of the most frequent pre-tokens.
    #[inline]
    pub fn front(&self) -> Front<'_> {
        Front::of(&self.table[..front::BYTES])
    }

    /// Puts a pre-token into the front, if it has few enough ids.
    #[inline]
    pub fn put_in_front(&mut self, key: ShortKey, ids: &[u32]) {
        front::put(&mut self.table[..front::BYTES], key, ids);
    }

    /// Appends the tokens of `key`, which [`Lines::get`] did not find at its [`Lines::place`], if they are known all the same.
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
        // Who comes often enough gets into the first line at some time.
        if is_a_turn(changes) && !has_many(&lines[first]) {
            let at = find(&lines[second], key);
            let found = slot(&lines[second], at);
            put(&mut lines[second], at, Slot::FREE);
            put(&mut lines[first], SLOTS - 1, found);
        }
        true
    }

    /// Remembers the tokens of `key`, of which nothing is known, unless they are very many or no known model's.
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
        if is_a_turn(changes) {
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

/// Counts a change, and says whether it is the one of so many.
fn is_a_turn(changes: &mut u32) -> bool {
    *changes = changes.wrapping_add(1);
    changes.is_multiple_of(NEWCOMERS)
}

/// Whether so many tokens of a pre-token fit into its slot.
fn fits(key: ShortKey, count: usize) -> bool {
    let max = MAX_BYTES.get(count.wrapping_sub(1));
    max.is_some_and(|max| key.len() <= *max)
}

impl Slot {
    /// Free.
    const FREE: Self = Self {
        tokens: 0,
        key: ShortKey { low: 0, high: 0 },
    };

    /// What is kept of a pre-token with tokens that fit.
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

/// Whether a line's last two slots have one pre-token.
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

/// Gives a line's last two slots to a pre-token.
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

/// Gives a line's first slot to a pre-token, and moves the others on.
fn push_in_front(line: &mut [u8; LINE], new: Slot) {
    let [first, second] = [0, 1].map(|at| slot(line, at));
    let second = if has_many(line) { Slot::FREE } else { second };
    for (at, slot) in [new, first, second].into_iter().enumerate() {
        put(line, at, slot);
    }
}

/// Gives a line's last slot to a pre-token.
fn replace_last(line: &mut [u8; LINE], new: Slot) {
    if has_many(line) {
        put(line, 1, Slot::FREE);
    }
    put(line, SLOTS - 1, new);
}

impl Lines<'_> {
    /// Where `key` is looked for first; asks for that memory, which [`Lines::get`] will look at.
    #[inline]
    pub fn place(self, key: ShortKey) -> u32 {
        let place = scaled(key.hash() >> 32);
        prefetch(self.0, place);
        place as u32
    }

    /// The tokens of `key`, whose [`Lines::place`] is given, if they are there.
    #[inline]
    pub fn get(self, place: u32, key: ShortKey) -> Option<Tokens> {
        get(self.0.get(place as usize)?, key)
    }
}

/// The slot of `key` in a line, or the last one.
#[inline(always)]
fn find(line: &[u8; LINE], key: ShortKey) -> usize {
    let differs = |at: usize| usize::from(!is(slot(line, at).key, key));
    // No branch for which one it is: that is as good as random.
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
    // Two at a time: a wide store each.
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

/// What the slot `at` of a line holds; all zero where it is free.
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

/// Where a slot's tokens and its key begin.
#[inline(always)]
fn places(at: usize) -> (usize, usize) {
    (5 * at, 16 * (at + 1))
}

/// 32 bits of a hash as the number of a line.
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

    /// The tokens of a pre-token, as it is looked for while encoding.
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
    fn pre_tokens_that_differ_in_one_byte_are_two() {
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
    fn tokens_larger_than_any_known_model_has_are_not_kept() {
        let mut cache = PreTokenCache::default();
        insert(&mut cache, key(b"piece"), &[1 << TOKEN_BITS]);
        assert_eq!(found(&mut cache, key(b"piece")), None);
    }

    /// Tokens of which a pre-token can have had no others: one to ten of them, each with the pre-token's number.
    fn tokens(number: u32) -> Vec<u32> {
        let count = 1 + number % 10;
        (0..count)
            .map(|at| (number * 10 + at) & TOKEN as u32)
            .collect()
    }

    #[test]
    fn more_pre_tokens_than_there_is_room_for_leave_most_of_the_room_to_those_that_stay() {
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
