//! The first tokens of a piece without the rest of it.
//!
//! Each beginning of a piece ends in one token only, which shorter beginnings decide. The encoding of the whole piece has a
//! border in any stretch as long as the longest token. So once all beginnings that end in such a stretch agree on their first
//! tokens, those are the first tokens of the piece, whatever follows.

use super::backtrack::longest_valid_after;
use super::buffers::MergeBuffers;
use super::tables::Tables;
use super::token::{NONE, Token};

/// Pieces up to this long, or this many times as long as the tokens wanted, are encoded whole: that is sooner done.
const WHOLE_BYTES: usize = 1 << 12;
const WHOLE_BYTES_PER_TOKEN: usize = 16;
/// Tokens settled at a time; beginnings are remembered no longer than that.
const AT_A_TIME: usize = 1 << 12;
/// Beginnings looked at before the piece is encoded whole instead.
const MOST_BEGINNINGS: usize = 1 << 20;

/// A beginning of a piece.
#[derive(Debug, Clone, Copy)]
pub struct Beginning {
    /// The token it ends in; [`NONE`] while that is not known.
    token: u32,
    /// Its tokens.
    count: u32,
    /// Where the last of the tokens wanted ends; 0 while it has fewer.
    settled: u32,
}

const UNKNOWN: Beginning = Beginning {
    token: NONE,
    count: 0,
    settled: 0,
};

/// Appends the first `most` of the ids of a piece that begins with `beginning`, however it goes on; `false`, and no id, if
/// that does not settle them, or is so short that it is not tried.
pub fn append_first(
    tables: &Tables,
    beginning: &[u8],
    most: usize,
    buffers: &mut MergeBuffers,
    ids: &mut Vec<u32>,
) -> bool {
    let before = ids.len();
    let few = WHOLE_BYTES.max(most.saturating_mul(WHOLE_BYTES_PER_TOKEN));
    // A piece that may be one of these tokens may not be what merging makes of it.
    let whole = &tables.tokens[tables.whole_only_from as usize..];
    let is_longer = |token: &Token| (token.len as usize) < beginning.len();
    let is_settled = beginning.len() > few
        && whole.iter().all(is_longer)
        && append_settled(tables, beginning, most, AT_A_TIME, buffers, ids);
    if !is_settled {
        ids.truncate(before);
    }
    is_settled
}

/// As [`append_first`], by merging, some tokens at a time; if it is `false`, `ids` may have grown.
pub fn append_settled(
    tables: &Tables,
    piece: &[u8],
    most: usize,
    at_a_time: usize,
    buffers: &mut MergeBuffers,
    ids: &mut Vec<u32>,
) -> bool {
    let before = ids.len();
    let mut beginnings = Vec::new();
    let (mut at, mut last) = (0, NONE);
    while ids.len() - before < most {
        let wanted = (most - (ids.len() - before)).min(at_a_time);
        let rest = &piece[at..];
        let Some(settled) = settle(tables, rest, last, wanted, &mut beginnings, buffers) else {
            return false;
        };
        let (first, mut end) = (ids.len(), settled);
        while end > 0 {
            ids.push(beginnings[end].token);
            end -= tables.tokens[beginnings[end].token as usize].len as usize;
        }
        ids[first..].reverse();
        last = ids[ids.len() - 1];
        at += settled;
    }
    for id in &mut ids[before..] {
        *id = tables.ids[*id as usize];
    }
    true
}

/// Where the first `wanted` tokens of `text`, which comes after the token `last`, end in any case.
fn settle(
    tables: &Tables,
    text: &[u8],
    last: u32,
    wanted: usize,
    beginnings: &mut Vec<Beginning>,
    buffers: &mut MergeBuffers,
) -> Option<usize> {
    beginnings.clear();
    beginnings.push(Beginning {
        token: last,
        ..UNKNOWN
    });
    let mut agreeing = 0;
    for start in 0..text.len().min(MOST_BEGINNINGS) {
        let here = *beginnings.get(start)?;
        let agrees = start > 0 && beginnings[start - 1].settled == here.settled;
        agreeing = if agrees { agreeing + 1 } else { 1 };
        if here.settled != 0 && agreeing >= tables.max_token_bytes {
            return Some(here.settled as usize);
        }
        // What ends here does not begin with the tokens before `text`: nothing long does.
        if start == 0 || here.token != NONE {
            extend(tables, text, start, wanted, beginnings, buffers);
        }
    }
    None
}

/// The beginnings that are one token longer than the one that ends at `start`.
fn extend(
    tables: &Tables,
    text: &[u8],
    start: usize,
    wanted: usize,
    beginnings: &mut Vec<Beginning>,
    buffers: &mut MergeBuffers,
) {
    let here = beginnings[start];
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
        if beginnings.len() <= end {
            beginnings.resize(end + 1, UNKNOWN);
        }
        beginnings[end] = Beginning {
            token,
            count,
            settled: match here.settled {
                0 if count as usize == wanted => end as u32,
                settled => settled,
            },
        };
        token = tables.tokens[token as usize].prefix;
    }
}
