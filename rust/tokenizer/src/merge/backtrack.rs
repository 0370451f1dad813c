//! Backtracking encoder: the longest token first, each boundary verified, one token back where none is valid.

use super::buffers::MergeBuffers;
use super::tables::Tables;
use super::token::NONE;

/// Positions of a pre-token at which no token of its encoding begins.
trait DeadEnds {
    fn contains(&self, position: usize) -> bool;
    fn mark(&mut self, position: usize);
}

/// Of a pre-token of fewer than 64 bytes.
impl DeadEnds for u64 {
    #[inline]
    fn contains(&self, position: usize) -> bool {
        *self >> (position % 64) & 1 == 1
    }

    #[inline]
    fn mark(&mut self, position: usize) {
        *self |= 1 << (position % 64);
    }
}

impl DeadEnds for Vec<u64> {
    #[inline]
    fn contains(&self, position: usize) -> bool {
        self[position / 64].contains(position)
    }

    #[inline]
    fn mark(&mut self, position: usize) {
        self[position / 64].mark(position);
    }
}

/// Words of the bit field that are kept for the next pre-token: enough for one of 64 KiB.
const WORDS_KEPT: usize = 1 << 10;

/// Appends the ids of a pre-token that is not a token as a whole; `first` is the longest token that it begins with.
pub fn append_parts(
    tables: &Tables,
    pre_token: &[u8],
    first: u32,
    buffers: &mut MergeBuffers,
    ids: &mut Vec<u32>,
) {
    let before = ids.len();
    if pre_token.len() < 64 {
        search(tables, pre_token, first, &mut 0_u64, buffers, ids);
    } else {
        let mut dead_ends = std::mem::take(&mut buffers.dead_ends);
        dead_ends.clear();
        dead_ends.resize(pre_token.len() / 64 + 1, 0);
        search(tables, pre_token, first, &mut dead_ends, buffers, ids);
        dead_ends.truncate(WORDS_KEPT);
        dead_ends.shrink_to(WORDS_KEPT);
        buffers.dead_ends = dead_ends;
    }
    for id in &mut ids[before..] {
        *id = tables.ids[*id as usize];
    }
}

/// Appends the numbers of the pre-token's tokens to `found`, which is also the stack for backtracking.
fn search(
    tables: &Tables,
    pre_token: &[u8],
    first: u32,
    dead_ends: &mut impl DeadEnds,
    buffers: &mut MergeBuffers,
    found: &mut Vec<u32>,
) {
    let before = found.len();
    let (mut at, mut token) = (0, tables.part(first));
    while at < pre_token.len() {
        let last = (found.len() > before).then(|| found[found.len() - 1]);
        match next_token(tables, last, token, at, dead_ends, buffers) {
            Some(next) => {
                found.push(next);
                at += tables.len(next);
                token = tables.longest(&pre_token[at..], buffers);
            }
            None => {
                dead_ends.mark(at);
                let Some(last) = found.pop() else {
                    // Every prefix of a pre-token has an encoding, so some token is valid at its start. If this were wrong, bytes
                    // would be better than nothing.
                    debug_assert!(false, "no token begins {pre_token:?}");
                    let bytes = pre_token.iter().map(|&byte| tables.trie.longest(&[byte]).0);
                    return found.extend(bytes);
                };
                at -= tables.len(last);
                token = tables.tokens[last as usize].prefix;
            }
        }
    }
}

/// The longest of `token` and the tokens it begins with that is valid after `last` and does not end at a dead end.
#[inline]
fn next_token(
    tables: &Tables,
    last: Option<u32>,
    mut token: u32,
    at: usize,
    dead_ends: &impl DeadEnds,
    buffers: &mut MergeBuffers,
) -> Option<u32> {
    while token != NONE {
        if let Some(last) = last {
            token = longest_valid_after(tables, last, token, buffers);
            if token == NONE {
                break;
            }
        }
        if !dead_ends.contains(at + tables.len(token)) {
            return Some(token);
        }
        token = tables.tokens[token as usize].prefix;
    }
    None
}

/// The longest of `token` and the tokens it begins with that makes a valid pair with `last`, or [`NONE`].
#[inline]
pub fn longest_valid_after(
    tables: &Tables,
    last: u32,
    token: u32,
    buffers: &mut MergeBuffers,
) -> u32 {
    buffers.count(1);
    let boundaries = |number: u32| tables.tokens[number as usize].boundaries;
    if boundaries(last).excludes_merge_with(boundaries(token)) {
        return token;
    }
    let MergeBuffers { memo, merging, .. } = buffers;
    let mut checks = 0;
    let found = memo.get(last, token, || {
        let mut token = token;
        while token != NONE
            && !tables
                .check
                .is_valid_pair(&tables.tokens, last, token, merging)
        {
            checks += 1;
            token = tables.tokens[token as usize].prefix;
        }
        token
    });
    buffers.count(checks);
    found
}
