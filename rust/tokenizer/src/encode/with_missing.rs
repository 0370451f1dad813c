//! Encodes text with bytes that have no token.

use crate::encode::missing_bytes::MissingBytes;
use crate::encode::scratch::Scratch;
use crate::encode::tables::Tables;
use crate::error::Result;
use crate::memory::reserve;
use crate::model::{NO_TOKEN, Unknown};

/// Appends the ids of `text`.
///
/// # Errors
/// As [`crate::Tokenizer::encode`].
pub fn encode_with_missing(
    tables: &Tables,
    missing: &MissingBytes,
    text: &[u8],
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
) -> Result<()> {
    let cancel = scratch.cancel_flag();
    let (mut held, mut outcome) = (Vec::new(), Ok(()));
    let append = |start: usize, end: usize| {
        if outcome.is_ok() {
            outcome = append_pre_token(tables, missing, &text[start..end], &mut held, scratch, ids);
        }
    };
    tables
        .model()
        .pre_tokenizer
        .for_each_pre_token(text, &cancel, append)?;
    outcome
}

/// As [`encode_with_missing`], with the bytes of `text` that each id comes from: missing bytes between two bytes of a token
/// belong to it; others belong to no token.
///
/// # Errors
/// As [`encode_with_missing`].
pub fn encode_with_missing_placed(
    tables: &Tables,
    missing: &MissingBytes,
    text: &[u8],
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
    bounds: &mut Vec<(usize, usize)>,
) -> Result<()> {
    let cancel = scratch.cancel_flag();
    let (mut held, mut outcome) = (Vec::new(), Ok(()));
    let append = |start: usize, end: usize| {
        if outcome.is_err() {
            return;
        }
        let (pre_token, first) = (&text[start..end], ids.len());
        outcome = append_pre_token(tables, missing, pre_token, &mut held, scratch, ids)
            .and_then(|()| reserve(bounds, ids.len() - first, "offsets"));
        if outcome.is_ok() {
            place(tables, missing, pre_token, start, &ids[first..], bounds);
        }
    };
    tables
        .model()
        .pre_tokenizer
        .for_each_pre_token(text, &cancel, append)?;
    outcome
}

fn append_pre_token(
    tables: &Tables,
    missing: &MissingBytes,
    pre_token: &[u8],
    held: &mut Vec<u8>,
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
) -> Result<()> {
    // At least one byte for each id, and one for the unknown token.
    reserve(ids, pre_token.len(), "ids")?;
    let merger = tables.merger(scratch.merges_added());
    let buffers = scratch.buffers();
    if !missing.any(pre_token) {
        merger.append(pre_token, buffers, ids);
        return Ok(());
    }
    let whole = merger
        .whole_token(pre_token)
        .filter(|_| tables.model().ignore_merges);
    if let Some(id) = whole.filter(|id| *id != NO_TOKEN) {
        ids.push(id);
        return Ok(());
    }
    match missing.unknown {
        Unknown::Refused | Unknown::Dropped => {
            held.clear();
            reserve(held, pre_token.len(), "a pre-token")?;
            held.extend(pre_token.iter().filter(|&&byte| !missing.has(byte)));
            merger.append_merged(held, buffers, ids);
        }
        Unknown::Token { id, fused } => {
            for run in pre_token.chunk_by(|&one, &next| missing.has(one) == missing.has(next)) {
                if !missing.has(run[0]) {
                    merger.append_merged(run, buffers, ids);
                } else {
                    let count = if fused { 1 } else { run.len() };
                    ids.extend(std::iter::repeat_n(id, count));
                }
            }
        }
    }
    Ok(())
}

/// Appends the bounds of the ids of a pre-token that begins at `base`.
fn place(
    tables: &Tables,
    missing: &MissingBytes,
    pre_token: &[u8],
    base: usize,
    ids: &[u32],
    bounds: &mut Vec<(usize, usize)>,
) {
    let token = |id: u32| tables.model().tokens.get(id);
    if ids.len() == 1 && token(ids[0]) == pre_token {
        return bounds.push((base, base + pre_token.len()));
    }
    let mut at = 0;
    for &id in ids {
        let is_missing = |at: &usize| pre_token.get(*at).is_some_and(|&byte| missing.has(byte));
        let run = (at..).take_while(is_missing).count();
        let start = match missing.unknown {
            Unknown::Token { fused, .. } if run > 0 => {
                let end = at + if fused { run } else { 1 };
                bounds.push((base + at, base + end));
                at = end;
                continue;
            }
            _ => at + run,
        };
        at = start;
        let mut known = token(id).len();
        while known > 0 && at < pre_token.len() {
            known -= usize::from(!missing.has(pre_token[at]));
            at += 1;
        }
        bounds.push((base + start, base + at));
    }
}
