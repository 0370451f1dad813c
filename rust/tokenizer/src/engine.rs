//! The loop that everything is encoded by: pieces in, ids out.

use crate::cache::{Lines, PieceCache};
use crate::cutter::Cutter;
use crate::error::Result;
use crate::key::ShortKey;
use crate::merge::{MergeBuffers, Place};
use crate::pattern::Pattern;
use crate::scan::{ENDS, Pieces};
use crate::stretch::Bounds;
use crate::tokenizer::Tokenizer;

/// What one thread needs to encode.
#[derive(Default)]
pub(crate) struct Scratch {
    batch: Box<Batch>,
    known: Known,
    /// Ids that the caller copies or counts.
    pub ids: Vec<u32>,
    /// How far this call goes.
    pub bounds: Bounds,
}

impl Scratch {
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
        match &self.model().cutter {
            Cutter::Named(pattern) => {
                self.encode_scanned(*pattern, text, scratch, ids);
                Ok(())
            }
            steps @ Cutter::Steps(_) => self.encode_cut(steps, text, scratch, ids),
        }
    }

    fn encode_scanned(
        &self,
        pattern: Pattern,
        text: &[u8],
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) {
        let Scratch { batch, known, .. } = scratch;
        let mut pieces = Pieces::of(pattern, text);
        let mut start = 0;
        while let Some(found) = pieces.fill(&mut batch.ends) {
            start = self.encode_batch_of_pieces(text, start, found, batch, known, ids);
        }
    }

    /// The pieces by regular expressions.
    fn encode_cut(
        &self,
        cutter: &Cutter,
        text: &[u8],
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        let Scratch { batch, known, .. } = scratch;
        let (mut start, mut found) = (0, 0);
        cutter.for_each_piece(text, |_, end| {
            batch.ends[found] = end as u32;
            found += 1;
            if found == ENDS {
                start = self.encode_batch_of_pieces(text, start, found, batch, known, ids);
                found = 0;
            }
        })?;
        self.encode_batch_of_pieces(text, start, found, batch, known, ids);
        Ok(())
    }

    /// Appends the ids of the first `count` pieces of a batch, the first of which begins at `start`, and says where the last one ends.
    #[inline]
    fn encode_batch_of_pieces(
        &self,
        text: &[u8],
        start: usize,
        count: usize,
        batch: &mut Batch,
        known: &mut Known,
        ids: &mut Vec<u32>,
    ) -> usize {
        let long = batch.look_up(text, start, count, known.cache.lines(), |piece| {
            self.merger.place(piece)
        });
        for piece in &batch.long[..long] {
            self.merger.prefetch(piece.place, piece.len);
        }
        let (mut at, mut from, mut long) = (0, start, 0);
        loop {
            at += batch.append_known(at, count, known.cache.lines(), ids);
            if let Some(before) = at.checked_sub(1) {
                from = batch.ends[before] as usize;
            }
            if at == count {
                return from;
            }
            let piece = &text[from..batch.ends[at] as usize];
            if batch.keys[at] == ShortKey::NONE {
                let place = batch.long[long].place;
                long += 1;
                self.merger
                    .append_remembered(place, piece, &mut known.buffers, ids);
            } else {
                self.encode_short(batch.keys[at], batch.places[at], piece, known, ids);
            }
            at += 1;
        }
    }

    /// Appends the ids of a short piece that the cache does not have at its place.
    // Out of line: the way through the cache, which nearly all pieces go, stays free of its registers.
    #[inline(never)]
    fn encode_short(
        &self,
        key: ShortKey,
        place: u32,
        piece: &[u8],
        known: &mut Known,
        ids: &mut Vec<u32>,
    ) {
        let Known { cache, buffers } = known;
        if !cache.look_again(place, key, ids) {
            let before = ids.len();
            self.merger.append_short(key, piece, buffers, ids);
            cache.insert(place, key, &ids[before..]);
        }
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
