//! Encodes text that has bytes without a token.

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
    let stop = scratch.stop();
    let (mut held, mut outcome) = (Vec::new(), Ok(()));
    let append = |start: usize, end: usize| {
        if outcome.is_ok() {
            outcome = append_piece(tables, missing, &text[start..end], &mut held, scratch, ids);
        }
    };
    tables.model().cutter.for_each_piece(text, &stop, append)?;
    outcome
}

/// As [`encode_with_missing`], with the bytes of `text` that each id comes from: what is between two bytes of a token belongs to
/// the token; what was left out elsewhere belongs to none.
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
    let stop = scratch.stop();
    let (mut held, mut outcome) = (Vec::new(), Ok(()));
    let append = |start: usize, end: usize| {
        if outcome.is_err() {
            return;
        }
        let (piece, first) = (&text[start..end], ids.len());
        outcome = append_piece(tables, missing, piece, &mut held, scratch, ids)
            .and_then(|()| reserve(bounds, ids.len() - first, "offsets"));
        if outcome.is_ok() {
            place(tables, missing, piece, start, &ids[first..], bounds);
        }
    };
    tables.model().cutter.for_each_piece(text, &stop, append)?;
    outcome
}

fn append_piece(
    tables: &Tables,
    missing: &MissingBytes,
    piece: &[u8],
    held: &mut Vec<u8>,
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
) -> Result<()> {
    // At least a byte for each id, and one for the unknown token.
    reserve(ids, piece.len(), "ids")?;
    let merger = tables.merger(scratch.is_full());
    let buffers = scratch.buffers();
    if !missing.any(piece) {
        merger.append(piece, buffers, ids);
        return Ok(());
    }
    let whole = merger.whole(piece).filter(|_| tables.model().whole_pieces);
    if let Some(id) = whole.filter(|id| *id != NO_TOKEN) {
        ids.push(id);
        return Ok(());
    }
    match missing.unknown {
        Unknown::Refused | Unknown::Dropped => {
            held.clear();
            reserve(held, piece.len(), "a piece")?;
            held.extend(piece.iter().filter(|&&byte| !missing.has(byte)));
            merger.append_merged(held, buffers, ids);
        }
        Unknown::Token { id, fused } => {
            for run in piece.chunk_by(|&one, &next| missing.has(one) == missing.has(next)) {
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
    piece: &[u8],
    base: usize,
    ids: &[u32],
    bounds: &mut Vec<(usize, usize)>,
) {
    let token = |id: u32| tables.model().tokens.get(id);
    if ids.len() == 1 && token(ids[0]) == piece {
        return bounds.push((base, base + piece.len()));
    }
    let mut at = 0;
    for &id in ids {
        let is_missing = |at: &usize| piece.get(*at).is_some_and(|&byte| missing.has(byte));
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
        while known > 0 && at < piece.len() {
            known -= usize::from(!missing.has(piece[at]));
            at += 1;
        }
        bounds.push((base + start, base + at));
    }
}
