//! Lines tile the stream whatever the limit and the buffers.

#![allow(clippy::unwrap_used)] // tests fail by panicking

use std::cell::Cell;
use std::io::BufReader;

use proptest::prelude::*;
use stategpt_lines::{BatchReader, Line, LineReader, LinesError};

const MARK: &[u8] = b"\xef\xbb\xbf";

/// (number, byte offset, content, size, is_ended) of every line, read through buffers of `buffer` bytes.
fn lines(text: &[u8], limit: u64, buffer: usize) -> Vec<(u64, u64, Vec<u8>, u64, bool)> {
    let mut reader = LineReader::new(BufReader::with_capacity(buffer, text), limit);
    let mut found = Vec::new();
    while let Some(line) = reader.next_line(&|| true).unwrap() {
        assert_eq!(line.is_whole(), line.size == line.content.len() as u64);
        let content = line.content.to_vec();
        found.push((
            line.number,
            line.byte_offset,
            content,
            line.size,
            line.is_ended,
        ));
    }
    assert_eq!(reader.lines(), found.len() as u64);
    found
}

proptest! {
    #[test]
    fn every_byte_is_in_one_line(
        mut parts in prop::collection::vec(
            prop::collection::vec(any::<u8>().prop_map(|byte| if byte == b'\n' { 0 } else { byte }), 0..12), 0..8),
        marked in any::<bool>(), is_ended in any::<bool>(), limit in 3_u64..9, buffer in 1_usize..20
    ) {
        if marked && !parts.is_empty() {
            parts[0].splice(..0, MARK.iter().copied());
        }
        let mut text = parts.join(&b'\n');
        if is_ended && !parts.is_empty() {
            text.push(b'\n');
        }
        let found = lines(&text, limit, buffer);
        let wanted: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        prop_assert_eq!(found.len(), wanted.len());
        let mut start = 0;
        for (index, ((number, byte_offset, content, size, is_ended), wanted)) in found.iter().zip(wanted).enumerate() {
            prop_assert_eq!((*number, *byte_offset), (index as u64 + 1, start as u64));
            let whole = wanted.strip_suffix(b"\n").unwrap_or(wanted);
            prop_assert_eq!(*is_ended, whole.len() < wanted.len());
            let kept = &whole[..whole.len().min(limit as usize)];
            let mark = if index == 0 && whole.starts_with(MARK) { MARK.len() } else { 0 };
            prop_assert_eq!(content.as_slice(), &kept[mark..]);
            prop_assert_eq!(*size as usize, whole.len() - mark);
            start += wanted.len();
        }
    }
}

#[test]
fn an_endless_line_is_left_when_the_caller_says_so() {
    let endless = BufReader::with_capacity(64, std::io::repeat(b'x'));
    let asked = Cell::new(0);
    let should_continue = || {
        asked.set(asked.get() + 1);
        asked.get() < 10
    };
    let mut reader = LineReader::new(endless, 8);
    assert!(matches!(
        reader.next_line(&should_continue),
        Err(LinesError::Stopped)
    ));
    assert_eq!(asked.get(), 10);
}

#[test]
fn batches_hold_the_same_lines_and_an_error_comes_after_those_before_it() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("unplugged"))
        }
    }
    use std::io::Read;
    let text = format!("{}\n{}tail", "x".repeat(3 << 20), "\n".repeat(10_000));
    let mut reader = BatchReader::new(BufReader::new(text.as_bytes().chain(Broken)));
    let (mut batches, mut lines) = (0, Vec::new());
    let error = loop {
        match reader.next_batch(1 << 21, &|| true) {
            Ok(batch) => {
                lines.extend(
                    batch
                        .lines()
                        .map(|line: Line<'_>| (line.byte_offset, line.size)),
                );
                batches += 1;
            }
            Err(error) => break error,
        }
    };
    // One long line, then at most 4,096 lines a batch. Text without a newline before the error is no line.
    assert_eq!((batches, lines.len()), (4, 10_001));
    assert_eq!(lines[0], (0, 3 << 20));
    assert_eq!(lines[10_000], ((3 << 20) + 10_000, 0));
    assert_eq!(error.to_string(), "unplugged");
}
