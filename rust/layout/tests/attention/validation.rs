//! Any vectors are a layout or an error that names the first wrong token.

use proptest::prelude::*;
use stategpt_layout::AttentionLayout;

use crate::stream::{Stream, stream};
use crate::tiles::check_lists;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_vectors_are_an_error_or_a_layout(
        entries in prop::collection::vec(any::<[i32; 4]>(), 0..20),
        small in prop::collection::vec(prop::array::uniform4(-1_i32..8), 0..8),
        row_tokens in prop_oneof![any::<i64>(), 1_i64..9], cut in 0_usize..40
    ) {
        for entries in [entries, small] {
            let column = |field: usize| entries.iter().map(|entry| entry[field]).collect::<Vec<_>>();
            let (mut position, segment_start) = (column(3), column(0));
            position.truncate(cut);
            let stream = Stream { segment_start, prefix_end: column(1), branch_start: column(2), position };
            for row_tokens in [row_tokens, entries.len() as i64] {
                let layout = AttentionLayout { row_tokens, ..stream.layout() };
                if layout.validate().is_ok() {
                    check_lists(&stream, 3, 2, Some(2));
                }
            }
        }
    }

    #[test]
    fn one_changed_entry_is_found_or_makes_another_layout(
        stream in stream(), field in 0_usize..4, token: prop::sample::Index, by in -3_i32..4
    ) {
        let mut changed = stream;
        let vectors = [
            &mut changed.segment_start, &mut changed.prefix_end, &mut changed.branch_start, &mut changed.position,
        ];
        if !vectors[field].is_empty() {
            let token = token.index(vectors[field].len());
            vectors[field][token] += by;
        }
        prop_assert_eq!(changed.layout().validate().is_ok(), is_whole(&changed));
    }
}

/// The rules, token by token, as they are written down.
fn is_whole(stream: &Stream) -> bool {
    let at = |t: usize| {
        (
            stream.segment_start[t],
            stream.prefix_end[t],
            stream.branch_start[t],
        )
    };
    (0..stream.position.len()).all(|t| {
        let ((s, p, b), token) = (at(t), t as i32);
        let before = at(t.saturating_sub(1));
        let trunk = || at((p - 1).max(s) as usize);
        let seen =
            s >= 0 && s <= p && p <= b && b <= token && stream.position[t] == p - s + token - b;
        let blank = (s, p, b, stream.position[t]) == (token, token, token + 1, 0);
        blank
            || (seen
                && (b == token || (s, p, b) == before)
                && (s == token || s == before.0)
                && (trunk().0, trunk().2) == (s, s))
    })
}

fn message(stream: &Stream, row_tokens: i64) -> String {
    let layout = AttentionLayout {
        row_tokens,
        ..stream.layout()
    };
    layout.validate().unwrap_err().to_string()
}

#[test]
fn the_first_wrong_token_is_named_with_its_values() {
    let mut stream = Stream::default();
    stream.push_segment(4, &[]);
    stream.push_segment(4, &[]);
    stream.position[7] = 0;
    stream.segment_start[5] = 3;
    let values = "layout: token 5 (segment_start=3, prefix_end=4, branch_start=4, position=1, row_tokens=4): ";
    assert_eq!(
        message(&stream, 4),
        format!("{values}its segment starts in an earlier row")
    );
    stream.segment_start[5] = 4;
    assert!(message(&stream, 8).starts_with("layout: token 7 ("));
}

#[test]
fn a_segment_does_not_go_on_into_the_next_row() {
    let mut stream = Stream::default();
    stream.push_segment(100, &[]);
    assert!(stream.layout().validate().is_ok());
    assert!(message(&stream, 50).contains("token 50 (segment_start=0"));
    assert!(message(&stream, 30).contains("100 tokens a whole number of rows"));
    assert!(message(&stream, 0).starts_with("row_tokens is 0"));
}

#[test]
fn nobody_sees_a_blank_token() {
    let mut stream = Stream::default();
    stream.push_blanks(1);
    stream.push_segment(2, &[]);
    assert!(stream.layout().validate().is_ok());
    (stream.segment_start[1], stream.position[1]) = (0, 1);
    assert!(stream.layout().validate().is_err());
}
