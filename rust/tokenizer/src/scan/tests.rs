//! Pre-tokens of small texts, per pattern. The differential tests against other engines are in `tests/tokenizer/test_tokenizer.py`.

use super::lanes::Ascii;
use super::{ENDS, PreTokens, Tier, for_each_pre_token};
use crate::classes::Classes;
use crate::pattern::Pattern;
use proptest::prelude::*;

fn pre_tokens(pattern: Pattern, text: &str) -> Vec<&str> {
    let mut pre_tokens = Vec::new();
    for_each_pre_token(pattern, text.as_bytes(), |start, end| {
        pre_tokens.push(&text[start..end])
    });
    pre_tokens
}

#[test]
fn gpt2_takes_one_space_with_a_word() {
    assert_eq!(
        pre_tokens(Pattern::Gpt2, "It's  12 dogs!?\n\n x"),
        ["It", "'s", " ", " 12", " dogs", "!?", "\n\n", " x"]
    );
    assert_eq!(pre_tokens(Pattern::Gpt2, "IT'S"), ["IT", "'", "S"]);
}

#[test]
fn gpt4_takes_numbers_in_threes_and_line_ends_with_the_text_before_them() {
    let expected = [
        "It", "'S", " ", "123", "45", " {", "\tx", "}\n\n", "  \n", " ", " y", "  ",
    ];
    assert_eq!(
        pre_tokens(Pattern::Gpt4, "It'S 12345 {\tx}\n\n  \n  y  "),
        expected
    );
}

#[test]
fn qwen_takes_each_number_alone() {
    assert_eq!(pre_tokens(Pattern::Qwen, "a12"), ["a", "1", "2"]);
}

#[test]
fn o200k_splits_before_capitals_and_keeps_contractions() {
    assert_eq!(
        pre_tokens(Pattern::O200k, "camelCase HTTPServer it's 中ABC a/\n/"),
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
    assert_eq!(pre_tokens(Pattern::Gpt4, "a'ſb"), ["a", "'ſ", "b"]);
    assert_eq!(pre_tokens(Pattern::Gpt2, "a'ſb"), ["a", "'", "ſb"]);
}

proptest! {
    #[test]
    fn pre_tokens_cover_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for name in Pattern::NAMES {
            let mut at = 0;
            for_each_pre_token(Pattern::named(name).unwrap(), &bytes, |start, end| {
                assert_eq!(start, at);
                assert!(end > start);
                at = end;
            });
            prop_assert_eq!(at, bytes.len());
        }
    }
}

fn ends(pattern: Pattern, text: &[u8], tier: Tier) -> Vec<u32> {
    let mut pre_tokens = PreTokens::of_tier(pattern, text, tier);
    let (mut ends, mut found) = (Vec::new(), [0; ENDS]);
    while let Some(count) = pre_tokens.fill(&mut found) {
        ends.extend_from_slice(&found[..count]);
    }
    ends
}

fn assert_tiers_agree(text: &[u8]) {
    for name in Pattern::NAMES {
        let pattern = Pattern::named(name).unwrap();
        let expected = ends(pattern, text, Tier::Scalar);
        for tier in Tier::available() {
            let found = ends(pattern, text, tier);
            let first = found.iter().zip(&expected).position(|(a, b)| a != b);
            let around = first.map(|at| {
                let from = at.checked_sub(3).map_or(0, |at| expected[at] as usize);
                String::from_utf8_lossy(&text[from..text.len().min(from + 90)]).into_owned()
            });
            assert_eq!(found, expected, "{name} {tier:?} {around:?}");
        }
    }
}

/// The characters that the patterns distinguish, with the context that decides between them.
const ATOMS: [&str; 64] = [
    "a",
    "bc",
    "Z",
    "QR",
    "word",
    "s",
    "'",
    "'s",
    "'re",
    "'LL",
    "'\u{17f}",
    "'v",
    "1",
    "23",
    "4567",
    "\u{b2}",
    " ",
    "  ",
    "    ",
    "\t",
    "\n",
    "\r\n",
    "\n\n",
    " \n",
    "\n ",
    "\n    ",
    "   \n",
    "\u{a0}",
    "\u{3000}",
    "\u{2028}",
    "\u{b}",
    ".",
    ",",
    "!?",
    "/",
    "//",
    "\n/",
    "-",
    "\u{2014}",
    "\u{201c}",
    "\u{3002}",
    "\u{e9}",
    "e\u{301}",
    "\u{130}",
    "\u{1c5}",
    "\u{2b0}",
    "\u{416}",
    "\u{43b}\u{438}",
    "\u{4e2d}",
    "\u{65e5}\u{672c}\u{8a9e}",
    "\u{e01}\u{e34}",
    "\u{1f600}",
    "\u{1d400}",
    "\u{660}",
    "\u{0}",
    "\u{7f}",
    "{",
    "}",
    "(",
    "x_y",
    "_",
    "=",
    "\u{feff}",
    "$",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn windows_find_what_the_scalar_scanner_finds(atoms in proptest::collection::vec(0..ATOMS.len(), 0..120)) {
        let text: String = atoms.into_iter().map(|atom| ATOMS[atom]).collect();
        assert_tiers_agree(text.as_bytes());
    }

    #[test]
    fn windows_find_it_in_few_kinds_of_atoms(kinds in proptest::collection::vec(0..ATOMS.len(), 2..6),
                                             atoms in proptest::collection::vec(any::<usize>(), 0..150)) {
        let text: String = atoms.into_iter().map(|atom| ATOMS[kinds[atom % kinds.len()]]).collect();
        assert_tiers_agree(text.as_bytes());
    }

    #[test]
    fn windows_find_it_in_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        assert_tiers_agree(&bytes);
    }

    #[test]
    fn windows_find_it_in_any_text(text in "\\PC{0,150}") {
        assert_tiers_agree(text.as_bytes());
    }
}

#[test]
fn windows_find_it_in_every_triple_of_atoms_at_the_end_of_a_window() {
    for first in ATOMS {
        for second in ATOMS {
            for third in ["a", "s", "1", " ", "\n", ".", "'", "\u{4e2d}", "Z", "/"] {
                let middle = format!("{first}{second}{third}");
                for lead in [0, 57, 60, 62] {
                    let text = format!("{}{middle} {middle}x", "ab ".repeat(lead / 3));
                    assert_tiers_agree(text.as_bytes());
                }
            }
        }
    }
}

#[test]
fn every_tier_classifies_each_byte_as_the_tables_do() {
    for byte in 0..=u8::MAX {
        for text in [
            vec![byte; 64],
            [&[b'a'; 63][..], &[byte]].concat(),
            [&[byte][..], &[b' '; 70]].concat(),
        ] {
            assert_tiers_agree(&text);
        }
    }
    // The windows classify ASCII white space and letters as the tables do.
    let white: Vec<u8> = (0..128)
        .filter(|&byte| Classes::get().ascii[usize::from(byte)] & crate::classes::SPACE != 0)
        .collect();
    assert_eq!(white, b"\t\n\x0b\x0c\r ");
    assert_eq!(Ascii::default().high, 0);
}

#[test]
fn this_machine_runs_at_least_the_scalar_tier() {
    assert_eq!(Tier::available().last(), Some(&Tier::Scalar));
    assert_eq!(Tier::of_machine(), Tier::available()[0]);
}

#[test]
fn windows_find_it_around_every_character() {
    let mut text = String::new();
    for character in (0..0x11_0000).filter_map(char::from_u32) {
        let c = character;
        text.push_str(&format!("a{c}b {c}\n{c}1{c}.{c}{c}Z'{c}s"));
        if text.len() > 1 << 16 {
            assert_tiers_agree(text.as_bytes());
            text.clear();
        }
    }
    assert_tiers_agree(text.as_bytes());
}
