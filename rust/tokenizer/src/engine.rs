//! The loop that everything is encoded by: pieces in, ids out.

use crate::cache::PieceCache;
use crate::cutter::Cutter;
use crate::error::Result;
use crate::front::Front;
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
    /// Where the front has the pieces, if it has them.
    places: [u32; ENDS],
    /// Where those without a key are remembered.
    long: [Place; ENDS],
    /// The ids of the frequent pieces. Each writes four whether it has as many or not, which is one wide store; there is room for them.
    ids: [u32; ENDS * 4],
    /// The other pieces, in order.
    rare: [Rare; ENDS],
}

/// A piece that is not among the most frequent ones.
#[derive(Clone, Copy)]
struct Rare {
    key: ShortKey,
    /// Where the lines have it, if it has a key.
    line: u32,
    /// Where it is remembered, if it is too long for a key.
    place: Place,
    start: u32,
    end: u32,
    /// How many ids of frequent pieces stand before it.
    ids_before: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            ends: [0; ENDS],
            keys: [ShortKey::NONE; ENDS],
            places: [0; ENDS],
            long: [Place::NOWHERE; ENDS],
            ids: [0; ENDS * 4],
            rare: [Rare {
                key: ShortKey::NONE,
                line: 0,
                place: Place::NOWHERE,
                start: 0,
                end: 0,
                ids_before: 0,
            }; ENDS],
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

impl Batch {
    /// Makes keys of the first `count` pieces and asks for the memory in which the front has them; `place` says where those that have
    /// no key are remembered.
    #[inline]
    fn make_keys(
        &mut self,
        text: &[u8],
        mut start: usize,
        count: usize,
        front: Front<'_>,
        place: impl Fn(&[u8]) -> Place,
    ) {
        let pieces = self.ends[..count].iter().zip(&mut self.keys);
        let places = self.places.iter_mut().zip(&mut self.long);
        for ((&end, key), (at, long)) in pieces.zip(places) {
            let end = end as usize;
            let len = end - start;
            if len <= ShortKey::MOST {
                *key = ShortKey::of_beginning(&text[start..], len);
                *at = front.place(*key);
            } else {
                (*key, *at) = (ShortKey::NONE, 0);
                *long = place(&text[start..end]);
            }
            start = end;
        }
    }

    /// Writes the ids of the frequent ones of the first `count` pieces to `ids` and the others to `rare`, and asks for the memory in
    /// which these are. Returns how many ids and how many others there are.
    #[inline]
    fn look_up(&mut self, mut start: usize, count: usize, cache: &PieceCache) -> (usize, usize) {
        let Self {
            ends,
            keys,
            places,
            long,
            ids,
            rare,
        } = self;
        let front = cache.front();
        let (mut found, mut others) = (0, 0);
        let pieces = keys[..count].iter().zip(&places[..count]).enumerate();
        for (at, (&key, &place)) in pieces {
            let Some(room) = ids[found..].first_chunk_mut() else {
                break;
            };
            let known = front.get(place, key, room);
            if known > 0 {
                found += known;
                continue;
            }
            let is_short = key != ShortKey::NONE;
            if let Some(before) = at.checked_sub(1) {
                start = ends[before] as usize;
            }
            rare[others] = Rare {
                key,
                line: if is_short {
                    cache.lines().place(key)
                } else {
                    u32::MAX
                },
                place: if is_short { Place::NOWHERE } else { long[at] },
                start: start as u32,
                end: ends[at],
                ids_before: found as u32,
            };
            others += 1;
        }
        (found, others)
    }
}
