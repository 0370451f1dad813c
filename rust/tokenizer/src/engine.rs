//! The loop that everything is encoded by: pieces in, ids out.

use crate::cache::{Lines, PieceCache};
use crate::cutter::Cutter;
use crate::error::Result;
use crate::key::ShortKey;
use crate::memory::reserve;
use crate::merge::{MergeBuffers, PieceMerger, Place};
use crate::pattern::Pattern;
use crate::scan::{ENDS, Pieces};
use crate::stop::Stop;
use crate::stretch::Bounds;
use crate::tokenizer::Tokenizer;

/// What one thread needs to encode.
#[derive(Default)]
pub(crate) struct Scratch {
    batch: Box<Batch>,
    known: Known,
    /// What is known where merges into added tokens happen, or where they do not: of which of the two `known` is not.
    other: Option<Box<Known>>,
    /// Whether they happen.
    full: bool,
    /// Ids that the caller copies or counts.
    pub ids: Vec<u32>,
    /// How far this call goes.
    pub bounds: Bounds,
}

impl Scratch {
    /// Whether merges into added tokens happen from now on.
    #[inline]
    pub fn merge_fully(&mut self, full: bool) {
        if self.full != full {
            std::mem::swap(&mut self.known, self.other.get_or_insert_default());
            self.full = full;
        }
    }

    /// Whether they do.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The flag of who waits for this call.
    pub fn stop(&self) -> Stop {
        self.bounds.stop()
    }

    /// What merging takes.
    pub fn buffers(&mut self) -> &mut MergeBuffers {
        &mut self.known.buffers
    }

    /// Takes back the buffer of ids, unless a long text has made it large.
    pub fn keep(&mut self, ids: Vec<u32>) {
        if ids.capacity() <= 1 << 16 {
            self.ids = ids;
        }
    }
}

/// What is known of pieces met before, and what it takes to find out about others.
#[derive(Default)]
struct Known {
    cache: PieceCache,
    buffers: MergeBuffers,
}

/// Some hundred pieces on their way. It lies in the scratch because a short text should not pay for clearing it.
struct Batch {
    ends: [u32; ENDS],
    keys: [ShortKey; ENDS],
    /// Where the cache has the pieces, if it has them.
    places: [u32; ENDS],
    /// Those without a key, one after the other.
    long: [Long; ENDS],
    /// A hit of the cache writes four ids whether it has as many or not, which is one wide store; there is room for them.
    ids: [u32; ENDS * PieceCache::MOST_TOKENS],
}

/// A piece too long for a key.
#[derive(Clone, Copy)]
struct Long {
    /// Where it is remembered.
    place: Place,
    len: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            ends: [0; ENDS],
            keys: [ShortKey::NONE; ENDS],
            places: [0; ENDS],
            long: [Long {
                place: Place::NOWHERE,
                len: 0,
            }; ENDS],
            ids: [0; ENDS * PieceCache::MOST_TOKENS],
        }
    }
}

impl Tokenizer {
    /// Appends the ids of `text`, in which no added token is looked for.
    ///
    /// # Errors
    /// As [`Cutter::for_each_piece`]; a named pattern never fails.
    pub(crate) fn encode_text(
        &self,
        text: &[u8],
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        if let Some(holes) = &self.holes
            && holes.any(text)
        {
            return self.encode_with_holes(holes, text, scratch, ids);
        }
        match &self.model().cutter {
            Cutter::Named(pattern) => self.encode_scanned(*pattern, text, scratch, ids),
            steps @ Cutter::Steps(_) => self.encode_cut(steps, text, scratch, ids),
        }
    }

    fn encode_scanned(
        &self,
        pattern: Pattern,
        text: &[u8],
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        let merger = self.merger(scratch.full);
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
        &self,
        cutter: &Cutter,
        text: &[u8],
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        let merger = self.merger(scratch.full);
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
    // No piece has more ids than bytes.
    reserve(ids, end - start, "ids")?;
    let long = batch.look_up(text, start, count, known.cache.lines(), |piece| {
        merger.place(piece)
    });
    for piece in &batch.long[..long] {
        merger.prefetch(piece.place, piece.len);
    }
    let (mut at, mut from, mut long) = (0, start, 0);
    loop {
        at += batch.append_known(at, count, known.cache.lines(), ids);
        if let Some(before) = at.checked_sub(1) {
            from = batch.ends[before] as usize;
        }
        if at == count {
            return Ok(from);
        }
        let piece = &text[from..batch.ends[at] as usize];
        if batch.keys[at] == ShortKey::NONE {
            let place = batch.long[long].place;
            long += 1;
            merger.append_remembered(place, piece, &mut known.buffers, ids);
        } else {
            encode_short(merger, batch.keys[at], batch.places[at], piece, known, ids);
        }
        at += 1;
    }
}

/// Appends the ids of a short piece that the cache does not have at its place.
// Out of line: the way through the cache, which nearly all pieces go, stays free of its registers.
#[inline(never)]
fn encode_short(
    merger: &PieceMerger,
    key: ShortKey,
    place: u32,
    piece: &[u8],
    known: &mut Known,
    ids: &mut Vec<u32>,
) {
    let Known { cache, buffers } = known;
    if !cache.look_again(place, key, ids) {
        let before = ids.len();
        merger.append_short(key, piece, buffers, ids);
        cache.insert(place, key, &ids[before..]);
    }
}

impl Batch {
    /// Makes keys of the first `count` pieces and asks for the memory in which the cache has them. Those that have no key go to
    /// `long`, where `place` says; returns how many they are.
    #[inline]
    fn look_up(
        &mut self,
        text: &[u8],
        mut start: usize,
        count: usize,
        cache: Lines<'_>,
        place: impl Fn(&[u8]) -> Place,
    ) -> usize {
        let (mut found, mut rest) = (0, &text[start..]);
        let pieces = self.ends[..count].iter().zip(&mut self.keys);
        for ((&end, key), line) in pieces.zip(&mut self.places) {
            let end = end as usize;
            let len = end - start;
            let (piece, behind) = rest.split_at(len);
            if len <= ShortKey::MOST {
                *key = ShortKey::of_beginning(rest, len);
                *line = cache.place(*key);
            } else {
                (*key, *line) = (ShortKey::NONE, u32::MAX);
                let place = place(piece);
                self.long[found] = Long { place, len };
                found += 1;
            }
            (start, rest) = (end, behind);
        }
        found
    }

    /// Appends the ids of the pieces from `from` up to the first that the cache does not have, and returns how many they are.
    #[inline]
    fn append_known(
        &mut self,
        from: usize,
        count: usize,
        cache: Lines<'_>,
        ids: &mut Vec<u32>,
    ) -> usize {
        let Self {
            keys,
            places,
            ids: staged,
            ..
        } = self;
        let (mut known, mut len) = (0, 0);
        for (&key, &place) in keys[from..count].iter().zip(&places[from..count]) {
            let Some(tokens) = cache.get(place, key) else {
                break;
            };
            staged[len..len + PieceCache::MOST_TOKENS].copy_from_slice(&tokens.ids);
            len += tokens.count;
            known += 1;
        }
        ids.extend_from_slice(&staged[..len]);
        known
    }
}
