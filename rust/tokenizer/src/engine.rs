//! The loop that everything is encoded by: pieces in, ids out.

use crate::cache::PieceCache;
use crate::cutter::Cutter;
use crate::error::Result;
use crate::key::ShortKey;
use crate::merge::{MergeBuffers, merge};
use crate::pattern::Pattern;
use crate::scan::{ENDS, Pieces};
use crate::tokenizer::Tokenizer;

/// What one thread needs to encode.
#[derive(Default)]
pub(crate) struct Scratch {
    cache: PieceCache,
    buffers: MergeBuffers,
    /// Ids where only their count is wanted.
    pub counted: Vec<u32>,
}

/// Ids on their way to the caller's vector. A hit of the cache writes four whether it has as many or not, which is one wide
/// store, and this array has room for them without being asked.
struct Staged {
    ids: [u32; ENDS * PieceCache::MOST_TOKENS],
    len: usize,
}

impl Staged {
    #[inline]
    fn flush(&mut self, ids: &mut Vec<u32>) {
        ids.extend_from_slice(&self.ids[..self.len]);
        self.len = 0;
    }
}

impl Tokenizer {
    /// Appends the ids of `text`, in which no added token is looked for.
    ///
    /// # Errors
    /// As [`Cutter::for_each_piece`]; a named pattern never fails.
    pub(crate) fn encode_text(&self, text: &[u8], scratch: &mut Scratch, ids: &mut Vec<u32>) -> Result<()> {
        match &self.model().cutter {
            Cutter::Named(pattern) => self.encode_scanned(*pattern, text, scratch, ids),
            custom @ Cutter::Steps(_) => custom.for_each_piece(text, |start, end| {
                self.encode_pieces(text, start, &[end as u32], scratch, ids);
            })?,
        }
        Ok(())
    }

    fn encode_scanned(&self, pattern: Pattern, text: &[u8], scratch: &mut Scratch, ids: &mut Vec<u32>) {
        let mut pieces = Pieces::of(pattern, text);
        let mut start = 0;
        while let Some(ends) = pieces.next_ends() {
            self.encode_pieces(text, start, ends, scratch, ids);
            start = ends[ends.len() - 1] as usize;
        }
    }

    fn encode_pieces(&self, text: &[u8], mut start: usize, ends: &[u32], scratch: &mut Scratch, ids: &mut Vec<u32>) {
        let mut staged = Staged { ids: [0; ENDS * PieceCache::MOST_TOKENS], len: 0 };
        for &end in ends {
            let end = end as usize;
            if end - start > ShortKey::MOST {
                staged.flush(ids);
                self.encode_long(&text[start..end], scratch, ids);
            } else {
                let key = ShortKey::of(text, start, end);
                match scratch.cache.get(key) {
                    Some(tokens) => {
                        staged.ids[staged.len..staged.len + PieceCache::MOST_TOKENS].copy_from_slice(&tokens.ids());
                        staged.len += tokens.count();
                    }
                    None => {
                        staged.flush(ids);
                        self.encode_new(key, &text[start..end], scratch, ids);
                    }
                }
            }
            start = end;
        }
        staged.flush(ids);
    }

    // Out of line, like `encode_long`: the way through the cache, which nearly all pieces go, stays free of their registers.
    #[inline(never)]
    fn encode_new(&self, key: ShortKey, piece: &[u8], scratch: &mut Scratch, ids: &mut Vec<u32>) {
        let before = ids.len();
        match self.pieces.short(key) {
            Some(id) => ids.push(id),
            None => merge(&self.pairs, &self.bytes, piece, &mut scratch.buffers, ids),
        }
        scratch.cache.insert(key, &ids[before..]);
    }

    #[inline(never)]
    fn encode_long(&self, piece: &[u8], scratch: &mut Scratch, ids: &mut Vec<u32>) {
        match self.pieces.long(piece) {
            Some(id) => ids.push(id),
            None => merge(&self.pairs, &self.bytes, piece, &mut scratch.buffers, ids),
        }
    }
}
