//! Records in, groups and rejections out: nothing is lost and each fault has its code.

#![allow(clippy::expect_used, clippy::panic)] // tests fail by panicking

use proptest::prelude::*;
use stategpt_ranking::{Outcome, Reader, Rejection, Summary};

fn read(text: &[u8]) -> (Vec<Outcome>, Summary) {
    let mut reader = Reader::new(text);
    let outcomes = reader
        .by_ref()
        .map(|outcome| outcome.expect("memory does not fail"))
        .collect();
    (outcomes, reader.summary())
}

fn only_rejection(text: &str) -> Rejection {
    match read(text.as_bytes()).0.as_slice() {
        [Outcome::Rejected(rejection)] => rejection.clone(),
        other => panic!("expected one rejection, got {other:?}"),
    }
}

const GOOD: &str =
    r#"{"id":"a","prompt":"p","completions":[{"text":"x","rank":1},{"text":"y","rank":2}]}"#;

#[test]
fn each_fault_is_rejected_with_its_stable_code() {
    let two = r#"{"text":"x","rank":1},{"text":"y","rank":2}"#;
    let faults = [
        ("not json", "invalid_json"),
        ("{\"id\":\"a\"", "invalid_json"),
        ("[1]", "wrong_type"),
        (
            r#"{"id":"a","prompt":"p","completions":[{"text":"x","rank":1,"rank":3},{"text":"y","rank":2}]}"#,
            "duplicate_key",
        ),
        (r#"{"id":"a","id":"b"}"#, "duplicate_key"),
        (r#"{"id":"a","prompt":"\ud83d"}"#, "invalid_json"),
        (r#"{"prompt":"p","completions":[]}"#, "missing_field"),
        (r#"{"id":"a","prompt":"p"}"#, "missing_field"),
        (r#"{"id":7,"prompt":"p","completions":[]}"#, "wrong_type"),
        (
            r#"{"id":"a","prompt":"p","completions":[],"pair":[]}"#,
            "unknown_field",
        ),
        (
            r#"{"id":"a","prompt":"p","completions":[]}"#,
            "one_completion",
        ),
        (
            r#"{"id":"a","prompt":"p","completions":[{"text":"x","rank":1}]}"#,
            "one_completion",
        ),
        (
            r#"{"id":"a","prompt":"p","completions":[{"text":"x","rank":1},{"text":"y"}]}"#,
            "missing_field",
        ),
        (
            r#"{"id":"a","prompt":"p","completions":[{"text":"x","rank":1},{"text":"y","rank":"2"}]}"#,
            "wrong_type",
        ),
        (
            r#"{"id":"a","prompt":"p","completions":[{"text":"x","rank":1},{"text":"y","rank":0}]}"#,
            "unknown_rank",
        ),
        (
            r#"{"id":"a","prompt":"p","completions":[{"text":"x","rank":1},{"text":"y","rank":1.5}]}"#,
            "unknown_rank",
        ),
        (
            r#"{"id":"a","prompt":"p","completions":[{"text":"x","rank":1},{"text":"y","rank":-1}]}"#,
            "unknown_rank",
        ),
        (
            r#"{"id":"a","prompt":"p","completions":[{"text":"x","rank":1},{"text":"","rank":2,"ended":false}]}"#,
            "empty_completion",
        ),
        (
            r#"{"id":"a","prompt":"p","tokenizer":"t","completions":[{"text":"x","rank":1,"ids":[]},{"text":"y","rank":2}]}"#,
            "empty_ids",
        ),
        (
            r#"{"id":"a","prompt":"p","tokenizer":"t","completions":[{"text":"x","rank":1,"ids":[1,-1]},{"text":"y","rank":2}]}"#,
            "no_token_id",
        ),
        (
            r#"{"id":"a","prompt":"p","tokenizer":"t","completions":[{"text":"x","rank":1,"ids":[4294967296]},{"text":"y","rank":2}]}"#,
            "no_token_id",
        ),
        (
            r#"{"id":"a","prompt":"p","tokenizer":"t","completions":[{"text":"x","rank":1,"ids":[1.0]},{"text":"y","rank":2}]}"#,
            "no_token_id",
        ),
        (
            r#"{"id":"a","prompt":"p","tokenizer":"t","completions":[{"text":"x","rank":1,"ids":["1"]},{"text":"y","rank":2}]}"#,
            "wrong_type",
        ),
        (
            r#"{"id":"a","prompt":"p","tokenizer":"t","completions":[{"text":"x","rank":1,"ids":7},{"text":"y","rank":2}]}"#,
            "wrong_type",
        ),
        (
            r#"{"id":"a","prompt":"p","completions":[{"text":"x","rank":1,"ids":[1]},{"text":"y","rank":2}]}"#,
            "ids_without_tokenizer",
        ),
        (
            r#"{"id":"a","prompt":"p","tokenizer":"","completions":[{"text":"x","rank":1},{"text":"y","rank":2,"ids":[1]}]}"#,
            "ids_without_tokenizer",
        ),
        (
            &format!(r#"{{"id":"a","prompt":"p","tokenizer":7,"completions":[{two}]}}"#),
            "wrong_type",
        ),
        (
            r#"{"id":"a","prompt":"p","completions":[{"text":"x","rank":1},{"text":"x","rank":2}]}"#,
            "equal_completions_ranked_apart",
        ),
        (
            &format!(r#"{{"id":"","prompt":"p","completions":[{two}]}}"#),
            "empty_id",
        ),
        (
            &format!(r#"{{"id":"a","prompt":" \n","completions":[{two}]}}"#),
            "empty_prompt",
        ),
        (
            &format!(r#"{{"id":"a","prompt":"p","completions":[{two}],"pairs":[[0,2]]}}"#),
            "pair_out_of_range",
        ),
        (
            &format!(r#"{{"id":"a","prompt":"p","completions":[{two}],"pairs":[[0,-1]]}}"#),
            "pair_out_of_range",
        ),
        (
            &format!(r#"{{"id":"a","prompt":"p","completions":[{two}],"pairs":[[0]]}}"#),
            "wrong_type",
        ),
        (
            &format!(r#"{{"id":"a","prompt":"p","completions":[{two}],"pairs":[[1,0]]}}"#),
            "contradicting_pairs",
        ),
        (
            &format!(r#"{{"id":"a","prompt":"p","completions":[{two}],"pairs":[[0,0]]}}"#),
            "contradicting_pairs",
        ),
        (
            &format!(r#"{{"id":"a","prompt":"p","completions":[{two}],"pairs":[[0,1],[1,0]]}}"#),
            "contradicting_pairs",
        ),
        (
            &format!(r#"{{"id":"a","prompt":"p","completions":[{two}],"pairs":[[0,1],[0,1]]}}"#),
            "duplicate_pair",
        ),
    ];
    for (text, code) in faults {
        let rejection = only_rejection(text);
        assert_eq!(
            rejection.problem.code(),
            code,
            "{text}: {}",
            rejection.problem
        );
    }
    let many = format!(
        r#"{{"id":"a","prompt":"p","completions":[{}]}}"#,
        vec![r#"{"text":"x","rank":1}"#; 17].join(",")
    );
    assert_eq!(only_rejection(&many).problem.code(), "too_many_completions");
}

#[test]
fn a_message_names_the_path_and_the_value() {
    let text =
        r#"{"id":"a","prompt":"p","completions":[{"text":"x","rank":1},{"text":"y","rank":0}]}"#;
    assert_eq!(
        only_rejection(text).problem.to_string(),
        "completions[1].rank is 0; ranks are integers from 1 (best), equal ranks are ties"
    );
}

#[test]
fn places_survive_blank_lines_windows_line_ends_bad_utf8_and_a_byte_order_mark() {
    let mut text = b"\xef\xbb\xbf".to_vec();
    text.extend(GOOD.as_bytes());
    text.extend(b"\r\n\n  \r\n");
    let bad_offset = text.len() as u64;
    text.extend(b"{\"id\":\"\xff\"}\n");
    let repeated_offset = text.len() as u64;
    text.extend(GOOD.as_bytes()); // no newline at the end
    let (outcomes, summary) = read(&text);
    assert_eq!(
        summary,
        Summary {
            lines: 5,
            kept: 1,
            rejected: 2,
            blank: 2
        }
    );
    let [
        Outcome::Kept {
            line: 1,
            byte_offset: 0,
            group,
        },
        Outcome::Rejected(bad),
        Outcome::Rejected(repeated),
    ] = outcomes.as_slice()
    else {
        panic!("{outcomes:?}");
    };
    assert_eq!(group.id, "a");
    assert_eq!(
        (bad.line, bad.byte_offset, bad.problem.code()),
        (4, bad_offset, "not_utf8")
    );
    assert_eq!(
        bad.problem.to_string(),
        "not UTF-8 from byte 7 of the line on; save the file as UTF-8"
    );
    assert_eq!(
        (repeated.line, repeated.byte_offset, repeated.problem.code()),
        (5, repeated_offset, "duplicate_id")
    );
    assert!(repeated.problem.to_string().contains("line 1"));
}

#[test]
fn an_overlong_line_is_rejected_with_its_length_and_the_next_line_is_read() {
    let text = format!("{}\n{GOOD}\n", "x".repeat(1000));
    let mut reader = Reader::with_line_limit(text.as_bytes(), 200);
    let outcomes: Vec<Outcome> = reader
        .by_ref()
        .map(|outcome| outcome.expect("memory does not fail"))
        .collect();
    let [Outcome::Rejected(long), Outcome::Kept { line: 2, .. }] = outcomes.as_slice() else {
        panic!("{outcomes:?}");
    };
    assert_eq!(
        long.problem.to_string(),
        "the line has 1000 bytes, more than 200; is a newline missing?"
    );
}

#[test]
fn a_source_that_fails_is_an_error_after_the_lines_before_it() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("unplugged"))
        }
    }
    use std::io::Read;
    let text = format!("{GOOD}\n");
    let mut reader = Reader::new(std::io::BufReader::new(text.as_bytes().chain(Broken)));
    assert!(matches!(reader.next(), Some(Ok(Outcome::Kept { .. }))));
    let error = reader
        .next()
        .expect("an error")
        .expect_err("the source is broken");
    assert_eq!(
        error.to_string(),
        "reading rankings failed after 1 lines: unplugged"
    );
    assert!(reader.next().is_none());
}

proptest! {
    #[test]
    fn whatever_the_bytes_every_line_is_kept_rejected_or_blank(
        lines in prop::collection::vec(prop_oneof![
            Just(GOOD.as_bytes().to_vec()),
            Just(Vec::new()),
            prop::collection::vec(any::<u8>(), 0..40),
            prop::sample::subsequence(GOOD.as_bytes().to_vec(), 0..GOOD.len()),
        ], 0..12),
        limit in 1_u64..200,
    ) {
        let text = lines.join(&b'\n');
        let mut reader = Reader::with_line_limit(text.as_slice(), limit);
        let outcomes: Vec<Outcome> = reader.by_ref().map(|outcome| outcome.expect("memory does not fail")).collect();
        let summary = reader.summary();
        prop_assert_eq!(summary.lines, summary.kept + summary.rejected + summary.blank);
        prop_assert_eq!(outcomes.len() as u64, summary.kept + summary.rejected);
        let newlines = text.iter().filter(|&&byte| byte == b'\n').count() as u64;
        prop_assert_eq!(summary.lines, newlines + u64::from(text.last().is_some_and(|&byte| byte != b'\n')));
        for outcome in &outcomes {
            if let Outcome::Rejected(rejection) = outcome {
                let before = &text[..rejection.byte_offset as usize];
                prop_assert_eq!(before.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1, rejection.line);
                prop_assert!(before.last().is_none_or(|&byte| byte == b'\n'));
            }
        }
    }
}

#[test]
fn a_byte_order_mark_is_skipped_at_the_start_and_named_further_on() {
    let joined = format!(
        "\u{feff}{GOOD}\n\u{feff}{}\n",
        GOOD.replace("\"a\"", "\"b\"")
    );
    let (outcomes, summary) = read(joined.as_bytes());
    assert_eq!((summary.lines, summary.kept), (2, 1));
    let Outcome::Rejected(rejection) = &outcomes[1] else {
        panic!("the second line starts with a mark");
    };
    assert_eq!(
        (rejection.line, rejection.problem.code()),
        (2, "byte_order_mark")
    );
}

#[test]
fn chosen_and_rejected_are_sent_to_their_reader() {
    let rejection = only_rejection(r#"{"chosen": "x", "rejected": "y"}"#);
    assert_eq!(rejection.problem.code(), "unknown_field");
    assert!(
        rejection
            .problem
            .to_string()
            .contains("read_chosen_rejected")
    );
}

#[test]
fn ids_and_their_tokenizer_are_kept_as_written() {
    let text = br#"{"id":"a","prompt":"p","tokenizer":"t","completions":[{"text":"x","rank":1,"ids":[0,4294967295]},{"text":"y","rank":2}]}"#;
    let (outcomes, _) = read(text);
    let [Outcome::Kept { group, .. }] = outcomes.as_slice() else {
        panic!("expected one group, got {outcomes:?}");
    };
    let ids: Vec<_> = group.completions.iter().map(|c| c.ids.clone()).collect();
    assert_eq!(ids, [Some(vec![0, u32::MAX]), None]);
    assert_eq!(group.tokenizer.as_deref(), Some("t"));
}
