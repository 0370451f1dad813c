//! tiktoken's rank files: one token a line, its bytes in base64, a space, its rank, which is its id.

use super::file::read_file;
use crate::byte_level;
use crate::error::{Result, TokenizerError, unsupported};
use crate::keyed::{KeyedMap, KeyedSet};
use crate::model::{
    AddedToken, MAX_TOKEN_BYTES, MAX_VOCABULARY, Merge, MergeOrder, Model, TokenTable, Unknown,
};
use crate::pre_tokenizer::PreTokenizer;
use serde_json::Value;
use std::path::Path;

/// Reads a rank file from disk. The file's memory is freed before any table is built.
///
/// # Errors
/// [`TokenizerError::Io`]; else as [`from_ranks`].
pub fn read_model(
    path: &Path,
    pre_tokenizer: impl Into<PreTokenizer>,
    special: &[(String, u32)],
) -> Result<Model> {
    from_ranks(&read_file(path)?, pre_tokenizer, special)
}

/// The model of a rank file's text.
///
/// tiktoken joins any two neighbors whose bytes together are a token, smallest id first. So there is a merge into each token for
/// every split of it into two tokens.
///
/// # Errors
/// [`TokenizerError::Format`] with the line, [`TokenizerError::BadSpecialToken`] if an id is taken.
pub fn from_ranks(
    text: &[u8],
    pre_tokenizer: impl Into<PreTokenizer>,
    special: &[(String, u32)],
) -> Result<Model> {
    let mut ranks = parse(text)?;
    let merges = merges(&ranks)?;
    let added = special_tokens(&ranks, special)?;
    let texts = special
        .iter()
        .map(|(content, id)| (content.clone().into_bytes(), *id));
    ranks.extend(texts);
    Ok(Model {
        nfc: false,
        prefix_space: false,
        pre_tokenizer: pre_tokenizer.into(),
        tokens: TokenTable::of(ranks.into_iter().map(|(bytes, id)| (id, bytes)).collect()),
        merges,
        order: MergeOrder::JoinedId,
        ignore_merges: true,
        unknown: Unknown::Refused,
        added,
        post_processor: Value::Null,
    })
}

/// The special tokens, in order of id, if they are distinct from each other and from the ranks.
fn special_tokens(ranks: &[(Vec<u8>, u32)], special: &[(String, u32)]) -> Result<Vec<AddedToken>> {
    let mut ids: KeyedSet<u32> = ranks.iter().map(|(_, id)| *id).collect();
    let tokens: KeyedSet<&[u8]> = ranks.iter().map(|(bytes, _)| bytes.as_slice()).collect();
    let mut contents = KeyedSet::default();
    let mut added = Vec::with_capacity(special.len());
    for (content, id) in special {
        // Both would have the same name in tokenizer.json.
        let is_rank =
            byte_level::read(content).is_some_and(|bytes| tokens.contains(bytes.as_slice()));
        let problem = match () {
            () if content.is_empty() => "is empty",
            () if !ids.insert(*id) => "has an id that is taken",
            () if *id as usize >= MAX_VOCABULARY => "has an id beyond the limit of 4,194,304",
            () if is_rank => "is written like a token of the rank file",
            () if !contents.insert(content.as_str()) => "is given twice",
            () => {
                added.push(AddedToken::control(*id, content.clone()));
                continue;
            }
        };
        return Err(TokenizerError::bad_special(content, problem));
    }
    added.sort_unstable_by_key(|token: &AddedToken| token.id);
    Ok(added)
}

fn parse(text: &[u8]) -> Result<Vec<(Vec<u8>, u32)>> {
    let (mut ranks, mut tokens, mut ids) = (Vec::new(), KeyedMap::default(), KeyedMap::default());
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
        if bytes.len() > MAX_TOKEN_BYTES {
            let problem = format!(
                "the token has {} bytes, more than the limit of {MAX_TOKEN_BYTES}",
                bytes.len()
            );
            return unsupported(format!("line {number}"), problem);
        }
        if let Some(first) = tokens.insert(bytes.clone(), number) {
            return Err(wrong(format!("this token is already on line {first}")));
        }
        if let Some(first) = ids.insert(id, number) {
            return Err(wrong(format!("rank {id} is already on line {first}")));
        }
        ranks.push((bytes, id));
    }
    if let Some(byte) = (0..=u8::MAX).find(|byte| !tokens.contains_key(&[*byte][..])) {
        let problem = format!("byte 0x{byte:02X} has no token; a rank file needs all 256 bytes");
        return unsupported("the end of the file", problem);
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

/// The maximum number of bytes compared, for each byte of the tokens and at least. Vocabularies in use need four.
const LOOKS_PER_BYTE: usize = 64;
const LOOKS: usize = 1 << 22;

/// Every split of every token into two tokens. The first parts are the longest token that it begins with, the longest one that
/// this one begins with, and so on: most positions are never tried.
fn merges(ranks: &[(Vec<u8>, u32)]) -> Result<Vec<Merge>> {
    let tokens = ranks.iter().map(|(bytes, _)| bytes.as_slice());
    let written: usize = tokens.clone().map(<[u8]>::len).sum();
    let mut looks = LOOKS + LOOKS_PER_BYTE * written;
    let places: KeyedMap<&[u8], usize> = tokens.zip(0..).collect();
    let prefixes = longest_beginnings(ranks);
    let mut merges = Vec::with_capacity(ranks.len());
    for ((bytes, joined), &prefix) in ranks.iter().zip(&prefixes) {
        let before = merges.len();
        for left in std::iter::successors(prefix, |&shorter| prefixes[shorter]) {
            let (start, left) = &ranks[left];
            let end = &bytes[start.len()..];
            looks = looks
                .checked_sub(end.len())
                .ok_or_else(|| too_many_cuts(*joined))?;
            if let Some(&right) = places.get(end) {
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
    Ok(merges)
}

fn too_many_cuts(rank: u32) -> TokenizerError {
    let problem = "its tokens can be split into two others in too many ways; is it a tokenizer?";
    TokenizerError::unsupported(format!("rank {rank}"), problem)
}

/// The index of the longest other token that each token begins with.
fn longest_beginnings(ranks: &[(Vec<u8>, u32)]) -> Vec<Option<usize>> {
    let mut order: Vec<usize> = (0..ranks.len()).collect();
    order.sort_unstable_by_key(|&place| &ranks[place].0);
    let mut longest = vec![None; ranks.len()];
    // Each of them begins with the previous one.
    let mut beginnings: Vec<usize> = Vec::new();
    for place in order {
        while let Some(&last) = beginnings.last()
            && !ranks[place].0.starts_with(&ranks[last].0)
        {
            beginnings.pop();
        }
        longest[place] = beginnings.last().copied();
        beginnings.push(place);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn merges_are_all_splits_into_two_tokens(texts in proptest::collection::btree_set("[ab]{1,7}", 1..60)) {
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
            prop_assert_eq!(merges(&ranks).unwrap(), expected);
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

    /// Tokens of one letter, repeated 1 to `max_len` times: each begins with all shorter ones.
    fn nested(max_len: usize) -> Vec<(Vec<u8>, u32)> {
        (1..)
            .take(max_len)
            .map(|len: usize| (vec![b'a'; len], len as u32))
            .collect()
    }

    #[test]
    fn too_many_splits_are_refused_early() {
        assert_eq!(merges(&nested(300)).unwrap().len(), 300 * 299 / 2);
        let error = merges(&nested(3000)).unwrap_err().to_string();
        assert!(error.contains("too many ways"), "{error}");
    }

    #[test]
    fn a_token_above_the_limit_is_refused_with_its_line() {
        let text = format!("IQ== 0\n{} 1\n", "AAAA".repeat(MAX_TOKEN_BYTES / 3 + 1));
        let error = parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("line 2: the token has 655"), "{error}");
    }
}
