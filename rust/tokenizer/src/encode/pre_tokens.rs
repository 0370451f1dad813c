//! Encodes text in which no added token is searched for: pre-tokens in, ids out.

use crate::encode::scratch::{Batch, Known, Rare, Scratch};
use crate::encode::tables::Tables;
use crate::encode::with_missing::encode_with_missing;
use crate::error::Result;
use crate::memory::reserve;
use crate::merge::PreTokenEncoder;
use crate::pattern::Pattern;
use crate::pre_tokenizer::PreTokenizer;
use crate::scan::{ENDS, PreTokens};
use crate::short_key::ShortKey;

/// Appends the ids of `text`, in which no added token is searched for.
///
/// # Errors
/// As [`PreTokenizer::for_each_pre_token`]; a named pattern never fails.
pub fn encode_text(
    tables: &Tables,
    text: &[u8],
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
) -> Result<()> {
    if let Some(missing) = tables.missing()
        && missing.any(text)
    {
        return encode_with_missing(tables, missing, text, scratch, ids);
    }
    match &tables.model().pre_tokenizer {
        PreTokenizer::Named(pattern) => encode_scanned(tables, *pattern, text, scratch, ids),
        steps @ PreTokenizer::Steps(_) => encode_split(tables, steps, text, scratch, ids),
    }
}

fn encode_scanned(
    tables: &Tables,
    pattern: Pattern,
    text: &[u8],
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
) -> Result<()> {
    let merger = tables.merger(scratch.merges_added());
    let Scratch { batch, known, .. } = scratch;
    let mut pre_tokens = PreTokens::of(pattern, text);
    let mut start = 0;
    while let Some(found) = pre_tokens.fill(&mut batch.ends) {
        start = encode_batch(merger, text, start, found, batch, known, ids)?;
    }
    Ok(())
}

/// Encodes by regular expressions.
fn encode_split(
    tables: &Tables,
    pre_tokenizer: &PreTokenizer,
    text: &[u8],
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
) -> Result<()> {
    let merger = tables.merger(scratch.merges_added());
    let cancel = scratch.cancel_flag();
    let Scratch { batch, known, .. } = scratch;
    let (mut start, mut found, mut outcome) = (0, 0, Ok(()));
    pre_tokenizer.for_each_pre_token(text, &cancel, |_, end| {
        batch.ends[found] = end as u32;
        found += 1;
        if found == ENDS {
            found = 0;
            if outcome.is_ok() {
                let done = encode_batch(merger, text, start, ENDS, batch, known, ids);
                outcome = done.map(|end| start = end);
            }
        }
    })?;
    outcome?;
    encode_batch(merger, text, start, found, batch, known, ids)?;
    Ok(())
}

/// Appends the ids of the first `count` pre-tokens of a batch, the first of which begins at `start`; returns where the last one
/// ends.
#[inline]
fn encode_batch(
    merger: &PreTokenEncoder,
    text: &[u8],
    start: usize,
    count: usize,
    batch: &mut Batch,
    known: &mut Known,
    ids: &mut Vec<u32>,
) -> Result<usize> {
    let end = count
        .checked_sub(1)
        .map_or(start, |last| batch.ends[last] as usize);
    // A pre-token has at most as many ids as bytes, and up to three more are written.
    reserve(ids, end - start + 3, "ids")?;
    let cache = &known.cache;
    batch.make_keys(text, start, count, cache.front(), |pre_token| {
        merger.place(pre_token)
    });
    let (found, rare) = batch.look_up(start, count, cache);
    for pre_token in &batch.rare[..rare] {
        merger.prefetch(pre_token.place, (pre_token.end - pre_token.start) as usize);
    }
    let mut from = 0;
    for rare in &batch.rare[..rare] {
        let before = rare.ids_before as usize;
        ids.extend_from_slice(&batch.ids[from..before]);
        from = before;
        let pre_token = &text[rare.start as usize..rare.end as usize];
        if rare.key == ShortKey::NONE {
            merger.append_remembered(rare.place, pre_token, &mut known.buffers, ids);
        } else {
            encode_rare(merger, rare, pre_token, known, ids);
        }
    }
    ids.extend_from_slice(&batch.ids[from..found]);
    Ok(end)
}

/// Appends the ids of a short pre-token that is not among the most frequent ones.
#[inline]
fn encode_rare(
    merger: &PreTokenEncoder,
    rare: &Rare,
    pre_token: &[u8],
    known: &mut Known,
    ids: &mut Vec<u32>,
) {
    let Rare {
        key, line: place, ..
    } = *rare;
    let Known { cache, buffers } = known;
    if let Some(tokens) = cache.lines().get(place, key) {
        // Writes all four, which is one wide store, and then drops the meaningless ones.
        ids.extend_from_slice(&tokens.ids);
        ids.truncate(ids.len() - tokens.ids.len() + tokens.count);
        cache.put_in_front(key, &tokens.ids[..tokens.count]);
    } else if !cache.look_again(place, key, ids) {
        let before = ids.len();
        merger.append_short(key, pre_token, buffers, ids);
        cache.insert(place, key, &ids[before..]);
    }
}
