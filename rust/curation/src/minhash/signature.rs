//! MinHash signatures: a text's set of shingles in 128 numbers whose equality estimates the Jaccard similarity.
//!
//! A shingle is 5 words in a row; of a text with fewer words, 5 characters in a row of its words joined by spaces; of one
//! with fewer characters, the whole. A text without a word has no signature.
//!
//! Component `c` is the smallest value that any shingle has under the order of `c`. Orders are those of Fast Similarity
//! Sketching (Dahlgaard, Knudsen, Thorup, FOCS 2017): in each round a shingle draws one component and one value, and
//! values of earlier rounds are smaller. Its value under the order of a component is that of the first round that drew
//! the component, so values of different shingles are independent and equally distributed, and two sets agree in a
//! component with a probability of exactly their Jaccard similarity. Where 128 independent permutations cost 128
//! evaluations per shingle, a long text needs one round; its error is at most theirs, since components share shingles
//! less often.

use super::hash::{hash_bytes, spread};
use super::words::{each_word, is_of_word, is_word_alone, push_lower};

/// Components of a signature.
pub const COMPONENTS: usize = 128;
/// Words (or characters) of a shingle.
pub const SHINGLE_WORDS: usize = 5;
/// A text's signature.
pub type Signature = [u32; COMPONENTS];

const EMPTY: u32 = u32::MAX;
/// Rounds in which components are drawn; in as many more each component takes all shingles.
const DRAWN_ROUNDS: usize = COMPONENTS;
const BASE: u64 = 0x5851_f42d_4c95_7f2d;
const CHARACTER_SEED: u64 = 0xa076_1d64_78bd_642f;
const ROUND_STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// From as many different shingles on, a component without a value after the first round has a probability below 1e-100.
const ENOUGH: usize = 1 << 15;

const BASE_4: u64 = BASE
    .wrapping_mul(BASE)
    .wrapping_mul(BASE)
    .wrapping_mul(BASE);

/// Memory that signatures of one thread share.
#[derive(Default)]
pub struct Scratch {
    lower: Vec<u8>,
    shingles: Vec<u64>,
}

/// The signature of a text, or None where it has no word.
pub fn signature(text: &str, scratch: &mut Scratch) -> Option<Signature> {
    let mut values = [EMPTY; COMPONENTS];
    let words = word_shingles(text, scratch, &mut values);
    if words == 0 {
        return None;
    }
    if words < SHINGLE_WORDS {
        character_shingles(text, scratch);
        sketch(&scratch.shingles, &mut values);
        return Some(values);
    }
    fill(&scratch.shingles, &mut values);
    Some(values)
}

/// The share of equal components: an unbiased estimate of the Jaccard similarity of two texts' shingles.
#[must_use]
pub fn equal_components(left: &Signature, right: &Signature) -> u32 {
    let mut equal = 0;
    for (one, other) in left.iter().zip(right) {
        equal += u32::from(one == other);
    }
    equal
}

/// Draws the first round of all shingles of 5 words; returns the number of words.
fn word_shingles(text: &str, scratch: &mut Scratch, values: &mut Signature) -> usize {
    let Scratch { lower, shingles } = scratch;
    shingles.clear();
    let mut last = [0_u64; SHINGLE_WORDS];
    let (mut count, mut slot, mut shingle, mut is_enough) = (0_usize, 0, 0_u64, false);
    each_word(text, lower, |word| {
        // The polynomial of the last 5 hashes: the oldest one leaves, the others move up, this one joins.
        shingle = shingle
            .wrapping_sub(last[slot].wrapping_mul(BASE_4))
            .wrapping_mul(BASE)
            .wrapping_add(word.hash);
        last[slot] = word.hash;
        slot = if slot + 1 == SHINGLE_WORDS {
            0
        } else {
            slot + 1
        };
        count += 1;
        if count < SHINGLE_WORDS {
            return;
        }
        draw(shingle, 0, values);
        if !is_enough {
            shingles.push(shingle);
            if shingles.len() >= 2 * ENOUGH {
                shingles.sort_unstable();
                shingles.dedup();
                is_enough = shingles.len() >= ENOUGH;
            }
        }
    });
    count
}

/// Collects shingles of 5 characters of the text's words joined by spaces.
fn character_shingles(text: &str, scratch: &mut Scratch) {
    let Scratch { lower, shingles } = scratch;
    normalized(text, lower);
    // Where each character starts; the first bit of a continuation byte is not one.
    let mut starts: Vec<usize> = (0..lower.len())
        .filter(|&at| lower[at] & 0xc0 != 0x80)
        .collect();
    starts.push(lower.len());
    shingles.clear();
    let width = SHINGLE_WORDS.min(starts.len() - 1);
    for window in starts.windows(width + 1) {
        shingles.push(hash_bytes(&lower[window[0]..window[width]], CHARACTER_SEED));
    }
}

/// The lower-case words joined by single spaces. Such texts are short, or have few words and much between them.
fn normalized(text: &str, lower: &mut Vec<u8>) {
    lower.clear();
    let mut is_within = false;
    for character in text.chars() {
        let belongs = is_of_word(character);
        if belongs && !lower.is_empty() && (!is_within || is_word_alone(character)) {
            lower.push(b' ');
        }
        if belongs {
            push_lower(character, lower);
        }
        is_within = belongs && !is_word_alone(character);
    }
}

/// The component and the value that a shingle draws in a round.
fn drawn(shingle: u64, round: usize) -> (usize, u32) {
    let bits = spread(shingle ^ (round as u64).wrapping_mul(ROUND_STEP));
    let component = if round < DRAWN_ROUNDS {
        (bits >> 57) as usize
    } else {
        round - DRAWN_ROUNDS
    };
    let random = bits as u32;
    // The first round has 31 bits of value, each later one 23, above all of the rounds before.
    let value = if round == 0 {
        random >> 1
    } else {
        1 << 31 | (round as u32) << 23 | random >> 9
    };
    (component, value)
}

fn draw(shingle: u64, round: usize, values: &mut Signature) {
    let (component, value) = drawn(shingle, round);
    values[component] = values[component].min(value);
}

/// All rounds of a set of shingles.
pub(crate) fn sketch(shingles: &[u64], values: &mut Signature) {
    for &shingle in shingles {
        draw(shingle, 0, values);
    }
    fill(shingles, values);
}

/// Further rounds until every component has a value.
fn fill(shingles: &[u64], values: &mut Signature) {
    let mut round = 1;
    while round < 2 * DRAWN_ROUNDS && values.contains(&EMPTY) {
        for &shingle in shingles {
            draw(shingle, round, values);
        }
        round += 1;
    }
}
