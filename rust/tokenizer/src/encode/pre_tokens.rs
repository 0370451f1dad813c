//! Encodes text in which no added token is looked for: pre-tokens in, ids out.

use crate::encode::scratch::{Batch, Known, Rare, Scratch};
use crate::encode::tables::Tables;
use crate::encode::with_missing::encode_with_missing;
use crate::error::Result;
use crate::memory::reserve;
use crate::merge::PieceMerger;
use crate::pattern::Pattern;
use crate::pre_tokenizer::Cutter;
use crate::scan::{ENDS, Pieces};
use crate::short_key::ShortKey;

/// Appends the ids of `text`, in which no added token is looked for.
///
/// # Errors
/// As [`Cutter::for_each_piece`]; a named pattern never fails.
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
    match &tables.model().cutter {
        Cutter::Named(pattern) => encode_scanned(tables, *pattern, text, scratch, ids),
        steps @ Cutter::Steps(_) => encode_cut(tables, steps, text, scratch, ids),
    }
}

fn encode_scanned(
    tables: &Tables,
    pattern: Pattern,
    text: &[u8],
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
) -> Result<()> {
    let merger = tables.merger(scratch.is_full());
    let Scratch { batch, known, .. } = scratch;
    let mut pieces = Pieces::of(pattern, text);
    let mut start = 0;
    while let Some(found) = pieces.fill(&mut batch.ends) {
        start = encode_batch_of_pieces(merger, text, start, found, batch, known, ids)?;
    }
    Ok(())
}

/// The pieces by regular expressions.
fn encode_cut(
    tables: &Tables,
    cutter: &Cutter,
    text: &[u8],
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
) -> Result<()> {
    let merger = tables.merger(scratch.is_full());
    let stop = scratch.stop();
    let Scratch { batch, known, .. } = scratch;
    let (mut start, mut found, mut outcome) = (0, 0, Ok(()));
    cutter.for_each_piece(text, &stop, |_, end| {
        batch.ends[found] = end as u32;
        found += 1;
        if found == ENDS {
            found = 0;
            if outcome.is_ok() {
                let done = encode_batch_of_pieces(merger, text, start, ENDS, batch, known, ids);
                outcome = done.map(|end| start = end);
            }
        }
    })?;
    outcome?;
    encode_batch_of_pieces(merger, text, start, found, batch, known, ids)?;
    Ok(())
}

/// Appends the ids of the first `count` pieces of a batch, the first of which begins at `start`, and says where the last one ends.
#[inline]
fn encode_batch_of_pieces(
    merger: &PieceMerger,
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
    // No piece has more ids than bytes, and one writes three more than it has.
    reserve(ids, end - start + 3, "ids")?;
    let cache = &known.cache;
    batch.make_keys(text, start, count, cache.front(), |piece| {
        merger.place(piece)
    });
    let (found, rare) = batch.look_up(start, count, cache);
    for piece in &batch.rare[..rare] {
        merger.prefetch(piece.place, (piece.end - piece.start) as usize);
    }
    let mut from = 0;
    for rare in &batch.rare[..rare] {
        let before = rare.ids_before as usize;
        ids.extend_from_slice(&batch.ids[from..before]);
        from = before;
        let piece = &text[rare.start as usize..rare.end as usize];
        if rare.key == ShortKey::NONE {
            merger.append_remembered(rare.place, piece, &mut known.buffers, ids);
        } else {
            encode_rare(merger, rare, piece, known, ids);
        }
    }
    ids.extend_from_slice(&batch.ids[from..found]);
    Ok(end)
}

/// Appends the ids of a short piece that is not among the most frequent ones.
#[inline]
fn encode_rare(
    merger: &PieceMerger,
    rare: &Rare,
    piece: &[u8],
    known: &mut Known,
    ids: &mut Vec<u32>,
) {
    let Rare {
        key, line: place, ..
    } = *rare;
    let Known { cache, buffers } = known;
    if let Some(tokens) = cache.lines().get(place, key) {
        // All four, which is one wide store, and then those away that mean nothing.
        ids.extend_from_slice(&tokens.ids);
        ids.truncate(ids.len() - tokens.ids.len() + tokens.count);
        cache.put_in_front(key, &tokens.ids[..tokens.count]);
    } else if !cache.look_again(place, key, ids) {
        let before = ids.len();
        merger.append_short(key, piece, buffers, ids);
        cache.insert(place, key, &ids[before..]);
    }
}
