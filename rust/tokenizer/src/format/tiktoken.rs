//! tiktoken's rank files: one token a line, its bytes in base64, a space, its rank, which is its id.

use crate::cutter::Cutter;
use crate::error::{Result, TokenizerError};
use crate::model::{AddedToken, MAX_VOCABULARY, Merge, MergeOrder, Model, TokenTable};
use crate::tokenizer::Tokenizer;
use rustc_hash::FxHashMap;
use serde_json::Value;
use std::path::Path;

impl Tokenizer {
    /// Reads a rank file. `special` gives the ids of the special tokens, which rank files do not hold.
    ///
    /// # Errors
    /// [`TokenizerError::Io`]; [`TokenizerError::Format`] with the line; [`TokenizerError::BadSpecialToken`].
    pub fn from_tiktoken(
        path: &Path,
        cutter: impl Into<Cutter>,
        special: &[(String, u32)],
    ) -> Result<Self> {
        let model = from_ranks(&super::read_file(path)?, cutter, special);
        model
            .and_then(Self::new)
            .map_err(|error| error.of_origin(path))
    }
}

/// The model of a rank file's text.
///
/// tiktoken joins any two neighbours whose bytes together are a token, smallest id first. So each token is joined from
/// every cut of it into two tokens.
///
/// # Errors
/// [`TokenizerError::Format`] with the line, [`TokenizerError::BadSpecialToken`] where an id is taken.
pub fn from_ranks(
    text: &[u8],
    cutter: impl Into<Cutter>,
    special: &[(String, u32)],
) -> Result<Model> {
    let mut ranks = parse(text)?;
    let merges = merges(&ranks);
    let mut taken: FxHashMap<u32, ()> = ranks.iter().map(|(_, id)| (*id, ())).collect();
    let mut added = Vec::with_capacity(special.len());
    for (content, id) in special {
        let bad = |problem| TokenizerError::BadSpecialToken {
            content: content.clone(),
            problem,
        };
        if taken.insert(*id, ()).is_some() {
            return Err(bad("has an id that is taken"));
        }
        if *id as usize >= MAX_VOCABULARY {
            return Err(bad("has an id beyond the limit of 4,194,304"));
        }
        if added
            .iter()
            .any(|token: &AddedToken| token.content == *content)
        {
            return Err(bad("is given twice"));
        }
        added.push(AddedToken::control(*id, content.clone()));
        ranks.push((content.clone().into_bytes(), *id));
    }
    added.sort_unstable_by_key(|token| token.id);
    Ok(Model {
        nfc: false,
        prefix_space: false,
        cutter: cutter.into(),
        tokens: TokenTable::of(ranks.into_iter().map(|(bytes, id)| (id, bytes)).collect()),
        merges,
        order: MergeOrder::JoinedId,
        whole_pieces: true,
        added,
        post_processor: Value::Null,
    })
}

fn parse(text: &[u8]) -> Result<Vec<(Vec<u8>, u32)>> {
    let (mut ranks, mut tokens, mut ids) = (Vec::new(), FxHashMap::default(), FxHashMap::default());
    for (place, line) in text
        .split(|&byte| byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.trim_ascii().is_empty())
    {
        let number = place + 1;
        let wrong = |problem: String| TokenizerError::format(format!("line {number}"), problem);
        let (bytes, id) = parse_line(line.trim_ascii()).ok_or_else(|| {
            wrong("expected base64 of a token, one space, and its rank".to_owned())
        })?;
        if let Some(first) = tokens.insert(bytes.clone(), number) {
            return Err(wrong(format!("this token stands on line {first} already")));
        }
        if let Some(first) = ids.insert(id, number) {
            return Err(wrong(format!("rank {id} stands on line {first} already")));
        }
        ranks.push((bytes, id));
    }
    Ok(ranks)
}

fn parse_line(line: &[u8]) -> Option<(Vec<u8>, u32)> {
    let space = line.iter().position(|&byte| byte == b' ')?;
    let id: u32 = std::str::from_utf8(&line[space + 1..]).ok()?.parse().ok()?;
    let bytes = base64(&line[..space])?;
    (!bytes.is_empty() && (id as usize) < MAX_VOCABULARY).then_some((bytes, id))
}

/// Standard base64 (RFC 4648, section 4), padded.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text
        .strip_suffix(b"==")
        .or_else(|| text.strip_suffix(b"="))
        .unwrap_or(text);
    if !text.len().is_multiple_of(4) || digits.len() % 4 == 1 {
        return None;
    }
    let (mut bytes, mut buffer, mut bits) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0);
    for &digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        buffer = buffer << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
        }
    }
    Some(bytes)
}

/// Every cut of every token into two. The first parts are the longest token that it begins with, the longest that that one
/// begins with, and so on: most cuts are never looked at.
fn merges(ranks: &[(Vec<u8>, u32)]) -> Vec<Merge> {
    let tokens = ranks.iter().map(|(bytes, _)| bytes.as_slice());
    let places: FxHashMap<&[u8], usize> = tokens.clone().zip(0..).collect();
    let longest = |bytes: &[u8]| {
        let shorter = (1..bytes.len()).rev().map(|cut| &bytes[..cut]);
        shorter
            .filter_map(|start| places.get(start))
            .next()
            .copied()
    };
    let prefixes: Vec<Option<usize>> = tokens.map(longest).collect();
    let mut merges = Vec::with_capacity(ranks.len());
    for ((bytes, joined), &prefix) in ranks.iter().zip(&prefixes) {
        let before = merges.len();
        for left in std::iter::successors(prefix, |&shorter| prefixes[shorter]) {
            let (start, left) = &ranks[left];
            if let Some(&right) = places.get(&bytes[start.len()..]) {
                merges.push(Merge {
                    left: *left,
                    right: ranks[right].1,
                    joined: *joined,
                });
            }
        }
        // The shortest first part comes first.
        merges[before..].reverse();
    }
    merges.shrink_to_fit();
    merges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn merges_are_all_cuts_into_two_tokens(texts in proptest::collection::btree_set("[ab]{1,7}", 1..60)) {
            let ranks: Vec<(Vec<u8>, u32)> = texts.into_iter().map(String::into_bytes).zip((5..).step_by(3)).collect();
            let id = |text: &[u8]| ranks.iter().find(|(token, _)| token == text).map(|(_, id)| *id);
            let mut expected = Vec::new();
            for (text, joined) in &ranks {
                for cut in 1..text.len() {
                    if let (Some(left), Some(right)) = (id(&text[..cut]), id(&text[cut..])) {
                        expected.push(Merge { left, right, joined: *joined });
                    }
                }
            }
            prop_assert_eq!(merges(&ranks), expected);
        }
    }

    #[test]
    fn base64_is_read_with_every_padding() {
        assert_eq!(base64(b"IQ=="), Some(b"!".to_vec()));
        assert_eq!(base64(b"YWI="), Some(b"ab".to_vec()));
        assert_eq!(base64(b"YWJj"), Some(b"abc".to_vec()));
        assert_eq!(base64(b"YWJ"), None);
        assert_eq!(base64(b"Y=Jj"), None);
    }

    #[test]
    fn a_bad_line_is_named() {
        let message = parse(b"IQ== 0\nIQ== 1\n").unwrap_err().to_string();
        assert!(message.contains("line 2"), "{message}");
        assert!(parse(b"IQ==").unwrap_err().to_string().contains("line 1"));
    }
}
