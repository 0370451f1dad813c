//! Elements of an array are those that a parser finds, whatever the buffers; what is no array is refused.

#![allow(clippy::unwrap_used)] // tests fail by panicking

use std::io::BufReader;

use proptest::prelude::*;
use serde_json::{Value, json};
use stategpt_lines::{ElementReader, LinesError};

type Found = Vec<(u64, u64, Vec<u8>, u64, bool)>;

fn elements(text: &[u8], limit: u64, buffer: usize) -> Result<Found, LinesError> {
    let mut reader = ElementReader::new(BufReader::with_capacity(buffer, text), limit);
    let mut found = Vec::new();
    while let Some(line) = reader.next_element(&|| true)? {
        let content = line.content.to_vec();
        found.push((
            line.number,
            line.byte_offset,
            content,
            line.size,
            line.is_ended,
        ));
    }
    Ok(found)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a\"\\\\\\[\\]{},\n é]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-c\"]{0,3}", inner), 0..4)
                .prop_map(|fields| fields.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn elements_are_those_of_a_parser(
        values in prop::collection::vec(value(), 0..6), pretty in any::<bool>(), buffer in 3_usize..40
    ) {
        let array = Value::from(values.clone());
        let text = if pretty { serde_json::to_string_pretty(&array) } else { serde_json::to_string(&array) }.unwrap();
        let found = elements(format!(" \n{text}\n ").as_bytes(), 1 << 20, buffer).unwrap();
        let parsed: Vec<Value> = found.iter().map(|element| serde_json::from_slice(&element.2).unwrap()).collect();
        prop_assert_eq!(parsed, values);
        let whole = format!(" \n{text}\n ");
        for (number, byte_offset, content, size, is_ended) in found {
            let start = byte_offset as usize;
            prop_assert_eq!(&whole.as_bytes()[start..start + content.len()], content.as_slice());
            prop_assert_eq!(number, 1 + whole[..start].matches('\n').count() as u64);
            prop_assert_eq!(size as usize, content.len());
            prop_assert!(is_ended);
        }
    }

    #[test]
    fn any_bytes_end_and_no_limit_changes_the_places(
        text in prop::collection::vec(prop::sample::select(b"[]{},\"\\ \n1a".to_vec()), 0..40), limit in 0_u64..9
    ) {
        let text = [b"[".as_slice(), &text].concat();
        let whole = elements(&text, 1 << 20, 7);
        let cut = elements(&text, limit, 5);
        match (whole, cut) {
            (Ok(whole), Ok(cut)) => {
                prop_assert_eq!(whole.len(), cut.len());
                for (whole, cut) in whole.iter().zip(&cut) {
                    prop_assert_eq!((whole.0, whole.1, whole.3, whole.4), (cut.0, cut.1, cut.3, cut.4));
                    let kept = whole.2.len().min(limit as usize);
                    prop_assert_eq!(&whole.2[..kept], cut.2.as_slice());
                }
            }
            (Err(_), Err(_)) => {}
            (whole, cut) => prop_assert!(false, "{whole:?} and {cut:?}"),
        }
    }

    #[test]
    fn an_array_that_is_cut_off_ends_with_an_element_that_is_not_ended(
        values in prop::collection::vec(value(), 1..5), at in any::<prop::sample::Index>()
    ) {
        let text = json!(values).to_string();
        let cut = 1 + at.index(text.len() - 1);
        if cut < text.len() {
            let found = elements(&text.as_bytes()[..cut], 1 << 20, 16).unwrap();
            prop_assert!(!found.last().unwrap().4);
            prop_assert!(found[..found.len() - 1].iter().all(|element| element.4));
        }
    }
}

#[test]
fn one_bad_element_does_not_hide_the_next() {
    let found = elements(b"[1,, {\"a\": 1] ,\"x\",]", 1 << 20, 8).unwrap();
    let contents: Vec<&[u8]> = found.iter().map(|element| element.2.as_slice()).collect();
    assert_eq!(
        contents,
        [b"1".as_slice(), b"", b"{\"a\": 1]", b"\"x\"", b""]
    );
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert_eq!(
        elements(b"\xef\xbb\xbf[1]", 9, 16).unwrap(),
        [(1, 4, b"1".to_vec(), 1, true)]
    );
}

#[test]
fn what_is_no_array_is_refused() {
    for (text, problem) in [
        ("", "line 1 (byte 0): the file is empty"),
        (
            " \n{}",
            "line 2 (byte 2): the file does not begin with \"[\"",
        ),
        ("[1]\n[2]", "line 2 (byte 4): the file goes beyond"),
    ] {
        let error = elements(text.as_bytes(), 9, 16).unwrap_err().to_string();
        assert!(error.starts_with(problem), "{error}");
    }
    assert_eq!(elements(b"[ ]", 9, 16).unwrap(), []);
}

#[test]
fn reading_stops_when_told_to() {
    let text = [b"[\"".as_slice(), &[b'a'; 100]].concat();
    let mut reader = ElementReader::new(BufReader::with_capacity(8, text.as_slice()), 9);
    assert!(matches!(
        reader.next_element(&|| false),
        Err(LinesError::Stopped)
    ));
}
