//! Encodes only the first tokens of a pre-token.
//!
//! The encoding of each prefix ends in a unique token, which shorter prefixes determine. The encoding of the whole pre-token has
//! a boundary in any range as long as the longest token. So once all prefixes that end in such a range agree on their first
//! tokens, those are the first tokens of the pre-token, whatever follows.

use super::backtrack::longest_valid_after;
use super::buffers::MergeBuffers;
use super::tables::Tables;
use super::token::{NONE, Token};

/// Pre-tokens up to this long, or this many times the number of ids wanted, are encoded whole, which is faster.
const WHOLE_BYTES: usize = 1 << 12;
const WHOLE_BYTES_PER_TOKEN: usize = 16;
/// The number of tokens found at a time; prefixes are only remembered that long.
const AT_A_TIME: usize = 1 << 12;
/// The maximum number of prefixes before the pre-token is encoded whole instead.
const MAX_PREFIXES: usize = 1 << 20;

/// A prefix of a pre-token.
#[derive(Debug, Clone, Copy)]
pub struct Prefix {
    /// The last token of its encoding; [`NONE`] if it is unknown.
    token: u32,
    /// The number of its tokens.
    count: u32,
    /// Where the last of the wanted tokens ends; 0 while there are fewer.
    certain: u32,
}

const UNKNOWN: Prefix = Prefix {
    token: NONE,
    count: 0,
    certain: 0,
};

/// Appends the first `max_ids` ids of a pre-token that begins with `prefix`, whatever follows; `false`, and no id, if the prefix
/// does not determine them, or is so short that it is not tried.
pub fn append_certain_prefix(
    tables: &Tables,
    prefix: &[u8],
    max_ids: usize,
    buffers: &mut MergeBuffers,
    ids: &mut Vec<u32>,
) -> bool {
    let before = ids.len();
    let few = WHOLE_BYTES.max(max_ids.saturating_mul(WHOLE_BYTES_PER_TOKEN));
    // If the pre-token may be one of these tokens, merging need not give its encoding.
    let whole = &tables.tokens[tables.whole_only_from as usize..];
    let is_longer = |token: &Token| (token.len as usize) < prefix.len();
    let is_certain = prefix.len() > few
        && whole.iter().all(is_longer)
        && append_by_steps(tables, prefix, max_ids, AT_A_TIME, buffers, ids);
    if !is_certain {
        ids.truncate(before);
    }
    is_certain
}

/// As [`append_certain_prefix`], a few tokens at a time; if it returns `false`, `ids` may have grown.
pub fn append_by_steps(
    tables: &Tables,
    pre_token: &[u8],
    max_ids: usize,
    at_a_time: usize,
    buffers: &mut MergeBuffers,
    ids: &mut Vec<u32>,
) -> bool {
    let before = ids.len();
    let mut prefixes = Vec::new();
    let (mut at, mut last) = (0, NONE);
    while ids.len() - before < max_ids {
        let wanted = (max_ids - (ids.len() - before)).min(at_a_time);
        let rest = &pre_token[at..];
        let Some(certain) = certain_end(tables, rest, last, wanted, &mut prefixes, buffers) else {
            return false;
        };
        let (first, mut end) = (ids.len(), certain);
        while end > 0 {
            ids.push(prefixes[end].token);
            end -= tables.tokens[prefixes[end].token as usize].len as usize;
        }
        ids[first..].reverse();
        last = ids[ids.len() - 1];
        at += certain;
    }
    for id in &mut ids[before..] {
        *id = tables.ids[*id as usize];
    }
    true
}

/// Where the first `wanted` tokens of `text`, which follows the token `last`, end whatever follows.
fn certain_end(
    tables: &Tables,
    text: &[u8],
    last: u32,
    wanted: usize,
    prefixes: &mut Vec<Prefix>,
    buffers: &mut MergeBuffers,
) -> Option<usize> {
    prefixes.clear();
    prefixes.push(Prefix {
        token: last,
        ..UNKNOWN
    });
    let mut agreeing = 0;
    for start in 0..text.len().min(MAX_PREFIXES) {
        let here = *prefixes.get(start)?;
        let agrees = start > 0 && prefixes[start - 1].certain == here.certain;
        agreeing = if agrees { agreeing + 1 } else { 1 };
        if here.certain != 0 && agreeing >= tables.max_token_bytes {
            return Some(here.certain as usize);
        }
        // A prefix that ends here and does not begin with the tokens before `text`: no longer one does.
        if start == 0 || here.token != NONE {
            extend(tables, text, start, wanted, prefixes, buffers);
        }
    }
    None
}

/// Finds the prefixes that are one token longer than the one that ends at `start`.
fn extend(
    tables: &Tables,
    text: &[u8],
    start: usize,
    wanted: usize,
    prefixes: &mut Vec<Prefix>,
    buffers: &mut MergeBuffers,
) {
    let here = prefixes[start];
    let count = here.count + 1;
    let mut token = tables.longest(&text[start..], buffers);
    while token != NONE {
        if here.token != NONE {
            token = longest_valid_after(tables, here.token, token, buffers);
            if token == NONE {
                break;
            }
        }
        let end = start + tables.tokens[token as usize].len as usize;
        if prefixes.len() <= end {
            prefixes.resize(end + 1, UNKNOWN);
        }
        prefixes[end] = Prefix {
            token,
            count,
            certain: match here.certain {
                0 if count as usize == wanted => end as u32,
                certain => certain,
            },
        };
        token = tables.tokens[token as usize].prefix;
    }
}
