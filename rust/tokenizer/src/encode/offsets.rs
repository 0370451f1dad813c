//! The place in the text that each token comes from, in bytes and in characters.

use crate::cancel::CancelFlag;
use crate::classes::continues;
use crate::encode::bounds::Bounds;
use crate::encode::chunks::encode_chunks;
use crate::encode::scratch_pool::ScratchPool;
use crate::encode::tables::Tables;
use crate::encode::with_missing::encode_with_missing_placed;
use crate::error::Result;
use crate::memory::reserve;
use crate::model::Model;
use crate::segment::{Prepared, PreparedText, make_monotonic};
use crate::special::Special;

/// Tokens between two checks of the cancellation flag.
const BETWEEN_CHECKS: usize = 1 << 16;

/// First byte of each token, and the end of its last byte.
type Places = Vec<(usize, usize)>;

/// The ids of `text`, and the byte offset at which each begins, followed by the length of the text.
///
/// Offsets refer to the given `text`: a token of a prepended space is empty there, and one that begins inside a character that
/// normalization changed begins where that character does.
///
/// # Errors
/// [`crate::TokenizerError::Interrupted`] if `cancel` was raised; else as [`crate::Tokenizer::encode`].
pub fn encode_with_offsets(
    tables: &Tables,
    pool: &ScratchPool,
    text: &[u8],
    special: Special,
    cancel: &CancelFlag,
) -> Result<(Vec<u32>, Vec<u64>)> {
    let (ids, bounds) = encode_with_bounds(tables, pool, text, special, cancel)?;
    let mut offsets = Vec::new();
    reserve(&mut offsets, ids.len() + 1, "offsets")?;
    offsets.extend(bounds.iter().map(|&(start, _)| start as u64));
    make_monotonic(&mut offsets);
    offsets.push(text.len() as u64);
    Ok((ids, offsets))
}

/// The ids of `text`, and the characters that each covers: `[first, end]`. Tokens that share a character all cover it, and so do
/// those of characters that normalization decomposes or composes. A byte that continues no character counts as part of the
/// previous one. Only a token that is a prepended space covers none.
///
/// # Errors
/// As [`encode_with_offsets`].
pub fn encode_with_spans(
    tables: &Tables,
    pool: &ScratchPool,
    text: &[u8],
    special: Special,
    cancel: &CancelFlag,
) -> Result<(Vec<u32>, Vec<[u64; 2]>)> {
    let (ids, bounds) = encode_with_bounds(tables, pool, text, special, cancel)?;
    let characters = Characters::of(text)?;
    let mut spans = Vec::new();
    reserve(&mut spans, ids.len(), "spans")?;
    for bounds in bounds.chunks(BETWEEN_CHECKS) {
        cancel.check()?;
        spans.extend(
            bounds
                .iter()
                .map(|&(start, end)| characters.span(start, end)),
        );
    }
    Ok((ids, spans))
}

/// The ids of `text`, and the bytes that each comes from: first, and end.
fn encode_with_bounds(
    tables: &Tables,
    pool: &ScratchPool,
    text: &[u8],
    special: Special,
    cancel: &CancelFlag,
) -> Result<(Vec<u32>, Places)> {
    let (mut ids, mut bounds) = (Vec::new(), Vec::new());
    pool.with_bounds(Bounds::until(cancel), |scratch| {
        scratch.set_merges_added(tables.merges_added(special));
        tables.for_each_segment(text, special, &mut |segment| match segment {
            Prepared::Added { id, start, end } => {
                ids.push(id);
                bounds.push((start, end));
                Ok(())
            }
            Prepared::Text(prepared) => {
                let missing = tables
                    .missing()
                    .filter(|missing| missing.any(prepared.bytes));
                if let Some(missing) = missing {
                    let (bytes, first) = (prepared.bytes, bounds.len());
                    encode_with_missing_placed(
                        tables,
                        missing,
                        bytes,
                        scratch,
                        &mut ids,
                        &mut bounds,
                    )?;
                    for place in &mut bounds[first..] {
                        *place = prepared.origins(place.0, place.1);
                    }
                    return Ok(());
                }
                let first = ids.len();
                encode_chunks(tables, prepared.bytes, scratch, &mut ids)?;
                place_all(
                    tables.model(),
                    &prepared,
                    &ids[first..],
                    cancel,
                    &mut bounds,
                )
            }
        })
    })?;
    cancel.check()?;
    Ok((ids, bounds))
}

/// Appends the bounds of the ids of a segment.
fn place_all(
    model: &Model,
    prepared: &PreparedText<'_>,
    ids: &[u32],
    cancel: &CancelFlag,
    bounds: &mut Vec<(usize, usize)>,
) -> Result<()> {
    reserve(bounds, ids.len(), "offsets")?;
    let mut at = 0;
    for ids in ids.chunks(BETWEEN_CHECKS) {
        cancel.check()?;
        bounds.extend(ids.iter().map(|&id| {
            let start = at;
            at += model.tokens.get(id).len();
            prepared.origins(start, at)
        }));
    }
    Ok(())
}

/// Bytes of a text whose characters are counted together.
const BLOCK: usize = 64;

/// How many characters begin before each byte of a text.
struct Characters<'t> {
    text: &'t [u8],
    /// Before each block.
    before: Vec<u64>,
}

impl<'t> Characters<'t> {
    fn of(text: &'t [u8]) -> Result<Self> {
        let mut before = Vec::new();
        reserve(&mut before, text.len() / BLOCK + 1, "spans")?;
        let mut count = 0;
        for block in text.chunks(BLOCK) {
            before.push(count);
            count += begun(block);
        }
        before.push(count);
        Ok(Self { text, before })
    }

    /// Characters that begin before byte `at`.
    fn before(&self, at: usize) -> u64 {
        let block = at / BLOCK;
        let known = self.before.get(block).copied().unwrap_or_default();
        known + begun(&self.text[block * BLOCK..at])
    }

    fn span(&self, start: usize, end: usize) -> [u64; 2] {
        let first = self.before(start);
        // A token that begins within a character covers that character, too.
        let is_within = start < end && continues(self.text[start]);
        [first - u64::from(is_within && first > 0), self.before(end)]
    }
}

/// The number of characters that begin in `bytes`.
fn begun(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| !continues(byte)).count() as u64
}
