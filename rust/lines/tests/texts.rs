//! Texts gathered in batches are those of the lines one by one, whatever is between them.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, Read};

use proptest::prelude::*;
use stategpt_lines::{BatchReader, Gathered, LineReader, LinesError, Texts, string_fields};

/// Texts, and lines left, in order.
#[derive(Debug, PartialEq)]
enum Found {
    Text(String),
    Left(u64, u64, Vec<u8>),
}

fn slowly(file: &[u8], max_line_bytes: u64) -> Vec<Found> {
    let mut reader = LineReader::new(file, max_line_bytes);
    let mut found = Vec::new();
    while let Some(line) = reader.next_line(&|| true).unwrap() {
        let fields = line
            .is_whole()
            .then(|| string_fields(line.content, &["text".to_owned()]))
            .flatten();
        found.push(match fields {
            Some(fields) => Found::Text(fields[0].clone().into_owned()),
            None => Found::Left(line.number, line.byte_offset, line.content.to_vec()),
        });
    }
    found
}

fn gathered<R: BufRead>(
    source: R,
    max_line_bytes: u64,
    enough: usize,
) -> Result<Vec<Found>, LinesError> {
    let mut reader = BatchReader::new(source);
    let (mut texts, mut found) = (Texts::default(), Vec::new());
    loop {
        let end = reader.gather_texts("text", max_line_bytes, enough, &mut texts, &|| true)?;
        let each = texts
            .iter()
            .map(|text| String::from_utf8(text.to_vec()).unwrap());
        found.extend(each.map(Found::Text));
        texts.clear();
        match end {
            Gathered::Enough => {}
            Gathered::End => return Ok(found),
            Gathered::Left(line) => {
                found.push(Found::Left(line.number, line.byte_offset, line.content))
            }
        }
    }
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof!["[a-z\\n\"é\u{1f600}]{0,30}", "[a-z]{60,70}"];
    prop_oneof![
        8 => text.prop_map(|text| serde_json::json!({"id": 1, "text": text, "m": {"n": 1}}).to_string().into_bytes()),
        1 => prop::sample::select(vec![
            b"".to_vec(),
            b" ".to_vec(),
            b"\xef\xbb\xbf{\"text\": \"mark\"}".to_vec(),
            br#"{"text": "a", "text": "b"}"#.to_vec(),
            br#"{"text": 1}"#.to_vec(),
            br#"{"text": "half \ud83d"}"#.to_vec(),
            b"{\"text\": \"\xff\"}".to_vec(),
            br#"{"text": "cut off"#.to_vec(),
        ]),
    ]
}

proptest! {
    #[test]
    fn gathered_texts_are_those_of_single_lines(
        lines in prop::collection::vec(line(), 0..20), is_ended in any::<bool>(), buffer in 1..200_usize,
        enough in 1..300_usize, max_line_bytes in prop_oneof![Just(50_u64), Just(1 << 20)]
    ) {
        let mut file = lines.join(&b'\n');
        if is_ended { file.push(b'\n') }
        let source = std::io::BufReader::with_capacity(buffer, file.as_slice());
        let found = gathered(source, max_line_bytes, enough).unwrap();
        prop_assert_eq!(found, slowly(&file, max_line_bytes));
    }
}

#[test]
fn an_error_comes_after_the_texts_before_it() {
    /// A stream that breaks at its end.
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("broken"))
        }
    }
    let file = b"{\"text\": \"one\"}\n{\"text\": \"two\"}\n{\"te".as_slice();
    let mut reader = BatchReader::new(std::io::BufReader::new(file.chain(Broken)));
    let mut texts = Texts::default();
    let mut gather =
        |texts: &mut Texts| reader.gather_texts("text", 1 << 20, 1 << 20, texts, &|| true);
    assert_eq!(gather(&mut texts).unwrap(), Gathered::Enough);
    assert_eq!(texts.iter().collect::<Vec<_>>(), [b"one", b"two"]);
    texts.clear();
    assert!(matches!(gather(&mut texts), Err(LinesError::Stream(_))));
}
