//! Encodes long texts in chunks, split where that changes no pre-token, so that a call can end early.

use crate::encode::bounds::CHUNK_BYTES;
use crate::encode::pre_tokens::encode_text;
use crate::encode::prefix::encode_prefix;
use crate::encode::scratch::Scratch;
use crate::encode::tables::Tables;
use crate::error::Result;
use crate::pre_tokenizer::PreTokenizer;
use crate::split_point::{first_split_point, has_split_points};

/// Appends the ids of `text`, which contains no added token, as far as the bounds of the call allow.
///
/// # Errors
/// As [`crate::Tokenizer::encode`].
pub fn encode_chunks(
    tables: &Tables,
    text: &[u8],
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
) -> Result<()> {
    let mut rest = text;
    while !rest.is_empty() && !scratch.bounds.reached(ids.len()) {
        let missing = scratch.bounds.missing(ids.len());
        let end = match (&tables.model().pre_tokenizer, missing) {
            (PreTokenizer::Named(pattern), Some(max_ids)) if tables.missing().is_none() => {
                encode_prefix(tables, *pattern, rest, max_ids, scratch, ids)?
            }
            (pre_tokenizer, _) => {
                let end = match has_split_points(pre_tokenizer) {
                    true => first_split_point(rest, CHUNK_BYTES),
                    false => rest.len(),
                };
                encode_text(tables, &rest[..end], scratch, ids)?;
                end
            }
        };
        scratch.bounds.count(ids);
        rest = &rest[end..];
    }
    Ok(())
}
