//! Pieces of small texts, per pattern. The differential tests against other engines are in `tests/data/test_tokenizer.py`.

use super::for_each_piece;
use crate::pattern::Pattern;
use proptest::prelude::*;

fn pieces(pattern: Pattern, text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    for_each_piece(pattern, text.as_bytes(), |start, end| {
        pieces.push(&text[start..end])
    });
    pieces
}

#[test]
fn gpt2_takes_one_space_with_a_word() {
    assert_eq!(
        pieces(Pattern::Gpt2, "It's  12 dogs!?\n\n x"),
        ["It", "'s", " ", " 12", " dogs", "!?", "\n\n", " x"]
    );
    assert_eq!(pieces(Pattern::Gpt2, "IT'S"), ["IT", "'", "S"]);
}

#[test]
fn gpt4_takes_numbers_in_threes_and_line_ends_with_what_precedes_them() {
    let expected = [
        "It", "'S", " ", "123", "45", " {", "\tx", "}\n\n", "  \n", " ", " y", "  ",
    ];
    assert_eq!(
        pieces(Pattern::Gpt4, "It'S 12345 {\tx}\n\n  \n  y  "),
        expected
    );
}

#[test]
fn qwen_takes_each_number_alone() {
    assert_eq!(pieces(Pattern::Qwen, "a12"), ["a", "1", "2"]);
}

#[test]
fn o200k_cuts_before_capitals_and_keeps_contractions() {
    assert_eq!(
        pieces(Pattern::O200k, "camelCase HTTPServer it's 中ABC a/\n/"),
        [
            "camel",
            "Case",
            " HTTPServer",
            " it's",
            " 中",
            "ABC",
            " a",
            "/\n/"
        ]
    );
}

#[test]
fn a_long_s_is_a_contraction_where_case_is_ignored() {
    assert_eq!(pieces(Pattern::Gpt4, "a'ſb"), ["a", "'ſ", "b"]);
    assert_eq!(pieces(Pattern::Gpt2, "a'ſb"), ["a", "'", "ſb"]);
}

proptest! {
    #[test]
    fn pieces_tile_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for name in Pattern::NAMES {
            let mut at = 0;
            for_each_piece(Pattern::named(name).unwrap(), &bytes, |start, end| {
                assert_eq!(start, at);
                assert!(end > start);
                at = end;
            });
            prop_assert_eq!(at, bytes.len());
        }
    }
}
