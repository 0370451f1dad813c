//! The loop that everything is encoded by: pieces in, ids out.

use crate::cache::{PieceCache, Sets};
use crate::key::ShortKey;
use crate::merge::MergeBuffers;
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
    /// A hit of the cache writes four ids whether it has as many or not, which is one wide store; there is room for them.
    ids: [u32; ENDS * PieceCache::MOST_TOKENS],
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            ends: [0; ENDS],
            keys: [ShortKey::NONE; ENDS],
            places: [0; ENDS],
            ids: [0; ENDS * PieceCache::MOST_TOKENS],
        }
    }
}

impl Tokenizer {
    /// Appends the ids of `text`, in which no added token is looked for.
    pub(crate) fn encode_text(&self, text: &[u8], scratch: &mut Scratch, ids: &mut Vec<u32>) {
        let Scratch { batch, known, .. } = scratch;
        let mut pieces = Pieces::of(self.model().pattern, text);
        let mut start = 0;
        while let Some(found) = pieces.fill(&mut batch.ends) {
            batch.look_up(text, start, found, known.cache.sets());
            let mut at = 0;
            loop {
                at += batch.append_known(at, found, known.cache.sets(), ids);
                if at == found {
                    break;
                }
                let from = if at == 0 {
                    start
                } else {
                    batch.ends[at - 1] as usize
                };
                self.encode_piece(
                    batch.keys[at],
                    &text[from..batch.ends[at] as usize],
                    known,
                    ids,
                );
                at += 1;
            }
            start = batch.ends[found - 1] as usize;
        }
    }

    // Out of line: the way through the cache, which nearly all pieces go, stays free of its registers.
    #[inline(never)]
    fn encode_piece(&self, key: ShortKey, piece: &[u8], known: &mut Known, ids: &mut Vec<u32>) {
        let before = ids.len();
        self.merger.append(piece, &mut known.buffers, ids);
        if key != ShortKey::NONE {
            known.cache.insert(key, &ids[before..]);
        }
    }
}

impl Batch {
    /// Makes keys of the first `count` pieces and asks for the memory in which the cache has them.
    #[inline]
    fn look_up(&mut self, text: &[u8], mut start: usize, count: usize, cache: Sets<'_>) {
        let Self {
            ends, keys, places, ..
        } = self;
        for ((&end, key), place) in ends[..count].iter().zip(keys).zip(places) {
            let end = end as usize;
            *key = if end - start <= ShortKey::MOST {
                ShortKey::of(text, start, end)
            } else {
                ShortKey::NONE
            };
            *place = cache.place(*key);
            start = end;
        }
    }

    /// Appends the ids of the pieces from `from` up to the first that the cache does not have, and returns how many they are.
    #[inline]
    fn append_known(
        &mut self,
        from: usize,
        count: usize,
        cache: Sets<'_>,
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
