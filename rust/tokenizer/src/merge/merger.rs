//! Encodes one pre-token.

use super::backtrack::append_parts;
use super::buffers::MergeBuffers;
use super::check::Check;
use super::long_cache::{LongCache, Place};
use super::prefix;
use super::short::{SHORT_MOST, merge_short};
use super::short_tokens::ShortTokenTable;
use super::tables::Tables;
use crate::model::Model;
use crate::short_key::ShortKey;

/// Encodes pre-tokens: the tables of a model, and a cache.
pub struct PieceMerger {
    pub(super) tables: Tables,
    cache: LongCache,
}

impl PieceMerger {
    /// The tables of `model`, whose single bytes have the ids `bytes`, without what would make an added token: plain text must
    /// not yield one.
    pub fn of(model: &Model, bytes: &[u32; 256]) -> Self {
        Self {
            tables: Tables::of(&model.added, model, bytes),
            cache: LongCache::default(),
        }
    }

    /// The tables of all merges, for text from which added tokens have been cut out.
    pub fn of_all(model: &Model, bytes: &[u32; 256]) -> Self {
        Self {
            tables: Tables::of(&[], model, bytes),
            cache: LongCache::default(),
        }
    }

    /// Where the tokens of a long piece are remembered; asks for the memory that says whether they are.
    #[inline]
    pub fn place(&self, piece: &[u8]) -> Place {
        let place = Place::of(piece);
        self.cache.prefetch(place);
        place
    }

    /// Asks for the memory in which the tokens of a piece of so many bytes are, if they are remembered.
    #[inline]
    pub fn prefetch(&self, place: Place, len: usize) {
        self.cache.prefetch_tokens(place, len);
    }

    /// Appends the ids of `piece`, whose [`PieceMerger::place`] this is, and remembers them.
    #[inline]
    pub fn append_remembered(
        &self,
        place: Place,
        piece: &[u8],
        buffers: &mut MergeBuffers,
        ids: &mut Vec<u32>,
    ) {
        if !self.cache.append(place, piece, ids) {
            let before = ids.len();
            self.tables.trie.prefetch(&piece[..piece.len().min(64)]);
            self.append(piece, buffers, ids);
            self.cache.insert(place, piece, &ids[before..]);
        }
    }

    /// Appends the ids of a short piece, whose key this is.
    #[inline]
    pub fn append_short(
        &self,
        key: ShortKey,
        piece: &[u8],
        buffers: &mut MergeBuffers,
        ids: &mut Vec<u32>,
    ) {
        let tables = &self.tables;
        let (Check::Undo(pairs), Some(short)) = (&tables.check, &tables.short) else {
            return self.append(piece, buffers, ids);
        };
        if let Some(number) = short.tokens.get(key) {
            ids.push(tables.ids[number as usize]);
        } else if piece.len() <= ShortTokenTable::MOST
            || tables.whole_only_from as usize == tables.ids.len()
        {
            merge_short(&tables.ids, pairs, short, piece, ids);
        } else {
            self.append(piece, buffers, ids);
        }
    }

    /// Appends the ids of `piece`.
    pub fn append(&self, piece: &[u8], buffers: &mut MergeBuffers, ids: &mut Vec<u32>) {
        if piece.is_empty() {
            return;
        }
        let (number, steps) = self.tables.trie.longest(piece);
        buffers.count(steps);
        if self.tables.tokens[number as usize].len as usize == piece.len() {
            ids.push(self.tables.ids[number as usize]);
        } else if let (Check::Undo(pairs), Some(short), 1..=SHORT_MOST) =
            (&self.tables.check, &self.tables.short, piece.len())
        {
            merge_short(&self.tables.ids, pairs, short, piece, ids);
        } else {
            append_parts(&self.tables, piece, number, buffers, ids);
        }
    }

    /// The id of a piece that is a token as a whole, made by merging or not.
    pub fn whole(&self, piece: &[u8]) -> Option<u32> {
        let (number, _) = self.tables.trie.longest(piece);
        let token = self.tables.tokens.get(number as usize)?;
        (token.len as usize == piece.len()).then(|| self.tables.ids[number as usize])
    }

    /// Appends the ids that merging arrives at, whether the piece is a token as a whole or not.
    pub fn append_merged(&self, piece: &[u8], buffers: &mut MergeBuffers, ids: &mut Vec<u32>) {
        let number = self.tables.longest(piece, buffers);
        let Some(token) = self.tables.tokens.get(number as usize) else {
            return;
        };
        if token.len as usize == piece.len() {
            ids.push(self.tables.ids[number as usize]);
        } else {
            append_parts(&self.tables, piece, number, buffers, ids);
        }
    }

    /// Appends the first `most` of the ids that [`PieceMerger::append`] gives. O(bytes of those ids), unless the pre-token leaves
    /// open for a million bytes how it begins.
    pub fn append_at_most(
        &self,
        piece: &[u8],
        most: usize,
        buffers: &mut MergeBuffers,
        ids: &mut Vec<u32>,
    ) {
        let before = ids.len();
        if !self.append_first(piece, most, buffers, ids) {
            self.append(piece, buffers, ids);
            ids.truncate(before + most);
        }
    }

    /// As [`prefix::append_first`] by these tables.
    pub fn append_first(
        &self,
        beginning: &[u8],
        most: usize,
        buffers: &mut MergeBuffers,
        ids: &mut Vec<u32>,
    ) -> bool {
        prefix::append_first(&self.tables, beginning, most, buffers, ids)
    }
}
