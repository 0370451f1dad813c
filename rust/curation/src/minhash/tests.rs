//! The signature beside a slow reference, and the error of its estimates.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::hash::{hash_bytes, spread};
use super::*;

/// The words of a text, letter by letter.
fn reference_words(text: &str) -> Vec<(String, usize, usize)> {
    let mut words: Vec<(String, usize, usize)> = Vec::new();
    let mut is_open = false;
    for (at, letter) in text.char_indices() {
        let is_accent = ('\u{300}'..='\u{36f}').contains(&letter);
        if !letter.is_alphanumeric() && !is_accent {
            is_open = false;
            continue;
        }
        let is_alone = words::is_word_alone(letter);
        if !is_open || is_alone {
            words.push((String::new(), at, at));
        }
        let word = words.last_mut().unwrap();
        word.0.extend(letter.to_lowercase());
        word.2 = at + letter.len_utf8();
        is_open = !is_alone;
    }
    words
}

/// The set of shingles of a text, as hashes.
fn reference_shingles(text: &str) -> BTreeSet<u64> {
    let words = reference_words(text);
    if words.len() >= 5 {
        let hashes: Vec<u64> = words
            .iter()
            .map(|word| hash_bytes(word.0.as_bytes(), 0))
            .collect();
        let base = 0x5851_f42d_4c95_7f2d_u64;
        let join = |five: &[u64]| {
            five.iter().fold(0_u64, |sum, hash| {
                sum.wrapping_mul(base).wrapping_add(*hash)
            })
        };
        return hashes.windows(5).map(join).collect();
    }
    let joined = words
        .iter()
        .map(|word| word.0.clone())
        .collect::<Vec<_>>()
        .join(" ");
    let letters: Vec<char> = joined.chars().collect();
    let width = letters.len().clamp(1, 5);
    let text_of = |five: &[char]| five.iter().collect::<String>();
    letters
        .windows(width)
        .map(|five| hash_bytes(text_of(five).as_bytes(), 0xa076_1d64_78bd_642f))
        .collect()
}

/// For each component the smallest value over all shingles and all rounds: what the fast way may stop early.
fn reference_signature(text: &str) -> Option<Signature> {
    let shingles = reference_shingles(text);
    let mut values = [u32::MAX; 128];
    for shingle in &shingles {
        for round in 0..256_u64 {
            let bits = spread(shingle ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let component = if round < 128 { bits >> 57 } else { round - 128 } as usize;
            let low = bits as u32;
            let value = if round == 0 {
                low / 2
            } else {
                (1 << 31) + ((round as u32) << 23) + low / 512
            };
            values[component] = values[component].min(value);
        }
    }
    (!shingles.is_empty()).then_some(values)
}

fn signature_of(text: &str) -> Option<Signature> {
    signature(text, &mut Scratch::default())
}

fn texts() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        "[a-zA-Z0-9]{1,20}",
        "[ .,;\\n\\t-]{1,3}",
        Just(" ".to_owned()),
        "[äÖßéÉİΣς’—]{1,4}",
        "[中文日本ไทย]{1,4}",
        "e\u{301}{0,2}",
        "\\PC{0,6}",
    ];
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn words_are_those_of_the_reference(text in texts()) {
        let mut found = Vec::new();
        each_word(&text, &mut Vec::new(), |word| found.push(word));
        let expected: Vec<Word> = reference_words(&text)
            .iter()
            .map(|(word, start, end)| Word { hash: hash_bytes(word.as_bytes(), 0), start: *start, end: *end })
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_signature_is_that_of_the_reference(text in texts()) {
        prop_assert_eq!(signature_of(&text), reference_signature(&text));
    }

    #[test]
    fn case_white_space_and_punctuation_do_not_matter(words in prop::collection::vec("[a-z]{1,9}", 1..30)) {
        let plain = words.join(" ");
        let other = words.iter().map(|word| word.to_uppercase()).collect::<Vec<_>>().join(",\n -- ");
        prop_assert_eq!(signature_of(&plain), signature_of(&format!("({other})!")));
    }
}

#[test]
fn scratch_memory_leaves_nothing_behind() {
    let mut scratch = Scratch::default();
    let long = "many different words are here and none of them twice over".repeat(30);
    for text in [
        long.as_str(),
        "short",
        "ein Über-Maß",
        "",
        "!?",
        "one two three four five six",
    ] {
        assert_eq!(
            signature(text, &mut scratch),
            reference_signature(text),
            "{text}"
        );
    }
}

#[test]
fn a_text_without_a_word_has_no_signature() {
    for text in ["", " \n", "!? -- \u{2019}"] {
        assert_eq!(signature_of(text), None);
    }
}

/// Words of two sets with `common` shared ones, as texts whose shingles are the words: each stands alone five times.
fn planted(common: usize, only: usize, number: usize) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let shared = (0..common).map(|at| spread((number * 100_003 + at) as u64));
    let own = |side: usize| {
        (0..only).map(move |at| spread((1 << 40) + (number * 200_003 + side * 100_003 + at) as u64))
    };
    (
        shared.clone().chain(own(0)).collect(),
        shared.chain(own(1)).collect(),
    )
}

fn signature_of_set(shingles: &BTreeSet<u64>) -> Signature {
    let mut values = [u32::MAX; COMPONENTS];
    let shingles: Vec<u64> = shingles.iter().copied().collect();
    signature::sketch(&shingles, &mut values);
    values
}

/// Invariant 25: the estimate is unbiased, its variance at most that of 128 independent permutations.
#[test]
fn estimates_are_unbiased_and_as_exact_as_independent_permutations() {
    const TRIALS: usize = 2000;
    for (common, only) in [
        (4, 1),
        (8, 4),
        (20, 20),
        (90, 5),
        (64, 192),
        (400, 50),
        (2000, 2000),
    ] {
        let similarity = common as f64 / (common + 2 * only) as f64;
        let (mut sum, mut squares) = (0.0, 0.0);
        for number in 0..TRIALS {
            let (left, right) = planted(common, only, number);
            let equal = equal_components(&signature_of_set(&left), &signature_of_set(&right));
            let error = f64::from(equal) / 128.0 - similarity;
            sum += error;
            squares += error * error;
        }
        let variance = similarity * (1.0 - similarity) / 128.0;
        let bias_deviation = (variance / TRIALS as f64).sqrt();
        let bias = sum / TRIALS as f64;
        assert!(
            bias.abs() < 4.0 * bias_deviation,
            "{common} {only}: bias {bias}"
        );
        let ratio = squares / TRIALS as f64 / variance;
        assert!(
            ratio < 1.15,
            "{common} {only}: variance {ratio} of that of permutations"
        );
    }
}
