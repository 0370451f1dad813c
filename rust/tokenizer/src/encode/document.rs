//! Encodes one text: its segments, and the chunks of each.

use crate::cancel::CancelFlag;
use crate::encode::bounds::Bounds;
use crate::encode::chunks::encode_chunks;
use crate::encode::scratch::Scratch;
use crate::encode::scratch_pool::ScratchPool;
use crate::encode::tables::Tables;
use crate::error::Result;
use crate::memory::reserve;
use crate::segment::Prepared;
use crate::special::Special;

/// Pre-tokens between two checks of the cancellation flag.
const BETWEEN_CHECKS: usize = 1 << 12;

/// Appends the ids of `text` to `ids`.
///
/// # Errors
/// As [`crate::Tokenizer::encode`].
pub fn encode_into(
    tables: &Tables,
    text: &[u8],
    special: Special,
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
) -> Result<()> {
    scratch.set_merges_added(tables.merges_added(special));
    if tables.is_one_segment(special) {
        return encode_chunks(tables, text, scratch, ids);
    }
    tables.for_each_segment(text, special, &mut |segment| match segment {
        Prepared::Text(prepared) => encode_chunks(tables, prepared.bytes, scratch, ids),
        Prepared::Added { id, .. } => {
            ids.push(id);
            Ok(())
        }
    })
}

/// The ids of texts, in which no added token is searched for, and of control tokens between them.
///
/// # Errors
/// As [`crate::Tokenizer::encode_until`].
pub fn encode_parts<'p>(
    tables: &Tables,
    pool: &ScratchPool,
    parts: impl Iterator<Item = std::result::Result<&'p [u8], u32>>,
    cancel: &CancelFlag,
) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    pool.with_bounds(Bounds::until(cancel), |scratch| {
        parts.into_iter().try_for_each(|part| match part {
            Ok(text) => encode_into(tables, text, Special::Text, scratch, &mut ids),
            Err(id) => {
                reserve(&mut ids, 1, "ids")?;
                ids.push(id);
                Ok(())
            }
        })
    })?;
    cancel.check().map(|()| ids)
}

/// The number of ids that [`encode_into`] would append; they are not kept.
///
/// # Errors
/// As [`encode_into`].
pub fn count_ids(
    tables: &Tables,
    text: &[u8],
    special: Special,
    scratch: &mut Scratch,
) -> Result<usize> {
    let mut ids = std::mem::take(&mut scratch.ids);
    ids.clear();
    scratch.bounds.start_count();
    let outcome = encode_into(tables, text, special, scratch, &mut ids);
    let count = scratch.bounds.end_count() + ids.len();
    scratch.keep(ids);
    outcome.map(|()| count)
}

/// The pre-tokens of `text`.
///
/// # Errors
/// [`crate::TokenizerError::Interrupted`] if the call was cancelled; else as [`encode_into`].
pub fn pre_tokens<'t>(tables: &Tables, text: &'t str, cancel: &CancelFlag) -> Result<Vec<&'t str>> {
    let (mut pre_tokens, mut outcome) = (Vec::new(), Ok(()));
    let pre_token = |start: usize, end: usize| {
        if outcome.is_ok() {
            outcome = match pre_tokens.len().is_multiple_of(BETWEEN_CHECKS) {
                true => cancel
                    .check()
                    .and_then(|()| reserve(&mut pre_tokens, BETWEEN_CHECKS, "pre-tokens")),
                false => Ok(()),
            };
        }
        if outcome.is_ok() {
            pre_tokens.push(&text[start..end]);
        }
    };
    tables
        .model()
        .pre_tokenizer
        .for_each_pre_token(text.as_bytes(), cancel, pre_token)?;
    outcome.map(|()| pre_tokens)
}
