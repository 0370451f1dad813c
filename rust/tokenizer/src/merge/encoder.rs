//! Encodes one pre-token.

use super::backtrack::append_parts;
use super::buffers::MergeBuffers;
use super::check::Check;
use super::long_cache::{CacheKey, LongCache};
use super::prefix;
use super::short::{MAX_SHORT_BYTES, merge_short};
use super::short_tokens::ShortTokenTable;
use super::tables::Tables;
use crate::model::Model;
use crate::short_key::ShortKey;

/// Encodes pre-tokens: the tables of a model, and a cache.
pub struct PreTokenEncoder {
    pub(super) tables: Tables,
    cache: LongCache,
}

impl PreTokenEncoder {
    /// An encoder for `model`, whose single bytes have the ids `bytes`, without the merges that would make an added token: plain
    /// text must not produce one.
    pub fn of(model: &Model, bytes: &[u32; 256]) -> Self {
        Self {
            tables: Tables::of(&model.added, model, bytes),
            cache: LongCache::default(),
        }
    }

    /// An encoder with all merges, for text from which added tokens have been cut out.
    pub fn of_all(model: &Model, bytes: &[u32; 256]) -> Self {
        Self {
            tables: Tables::of(&[], model, bytes),
            cache: LongCache::default(),
        }
    }

    /// The cache key of a long pre-token; prefetches the cache entry's head.
    #[inline]
    pub fn place(&self, pre_token: &[u8]) -> CacheKey {
        let place = CacheKey::of(pre_token);
        self.cache.prefetch(place);
        place
    }

    /// Prefetches the cached tokens of a pre-token of `len` bytes.
    #[inline]
    pub fn prefetch(&self, place: CacheKey, len: usize) {
        self.cache.prefetch_tokens(place, len);
    }

    /// Appends the ids of `pre_token`, whose [`PreTokenEncoder::place`] is given, and caches them.
    #[inline]
    pub fn append_remembered(
        &self,
        place: CacheKey,
        pre_token: &[u8],
        buffers: &mut MergeBuffers,
        ids: &mut Vec<u32>,
    ) {
        if !self.cache.append(place, pre_token, ids) {
            let before = ids.len();
            self.tables
                .trie
                .prefetch(&pre_token[..pre_token.len().min(64)]);
            self.append(pre_token, buffers, ids);
            self.cache.insert(place, pre_token, &ids[before..]);
        }
    }

    /// Appends the ids of a short pre-token, whose key is given.
    #[inline]
    pub fn append_short(
        &self,
        key: ShortKey,
        pre_token: &[u8],
        buffers: &mut MergeBuffers,
        ids: &mut Vec<u32>,
    ) {
        let tables = &self.tables;
        let (Check::Undo(pairs), Some(short)) = (&tables.check, &tables.short) else {
            return self.append(pre_token, buffers, ids);
        };
        if let Some(number) = short.tokens.get(key) {
            ids.push(tables.ids[number as usize]);
        } else if pre_token.len() <= ShortTokenTable::MAX_BYTES
            || tables.whole_only_from as usize == tables.ids.len()
        {
            merge_short(&tables.ids, pairs, short, pre_token, ids);
        } else {
            self.append(pre_token, buffers, ids);
        }
    }

    /// Appends the ids of `pre_token`.
    pub fn append(&self, pre_token: &[u8], buffers: &mut MergeBuffers, ids: &mut Vec<u32>) {
        if pre_token.is_empty() {
            return;
        }
        let (number, steps) = self.tables.trie.longest(pre_token);
        buffers.count(steps);
        if self.tables.tokens[number as usize].len as usize == pre_token.len() {
            ids.push(self.tables.ids[number as usize]);
        } else if let (Check::Undo(pairs), Some(short), 1..=MAX_SHORT_BYTES) =
            (&self.tables.check, &self.tables.short, pre_token.len())
        {
            merge_short(&self.tables.ids, pairs, short, pre_token, ids);
        } else {
            append_parts(&self.tables, pre_token, number, buffers, ids);
        }
    }

    /// The id of a pre-token that is a token as a whole, whether or not merging makes it.
    pub fn whole_token(&self, pre_token: &[u8]) -> Option<u32> {
        let (number, _) = self.tables.trie.longest(pre_token);
        let token = self.tables.tokens.get(number as usize)?;
        (token.len as usize == pre_token.len()).then(|| self.tables.ids[number as usize])
    }

    /// Appends the ids that merging gives, even if the pre-token is a token as a whole.
    pub fn append_merged(&self, pre_token: &[u8], buffers: &mut MergeBuffers, ids: &mut Vec<u32>) {
        let number = self.tables.longest(pre_token, buffers);
        let Some(token) = self.tables.tokens.get(number as usize) else {
            return;
        };
        if token.len as usize == pre_token.len() {
            ids.push(self.tables.ids[number as usize]);
        } else {
            append_parts(&self.tables, pre_token, number, buffers, ids);
        }
    }

    /// Appends the first `max_ids` of the ids that [`PreTokenEncoder::append`] gives. O(bytes of those ids), unless a million
    /// bytes do not determine how the encoding begins.
    pub fn append_at_most(
        &self,
        pre_token: &[u8],
        max_ids: usize,
        buffers: &mut MergeBuffers,
        ids: &mut Vec<u32>,
    ) {
        let before = ids.len();
        if !self.append_certain_prefix(pre_token, max_ids, buffers, ids) {
            self.append(pre_token, buffers, ids);
            ids.truncate(before + max_ids);
        }
    }

    /// As [`prefix::append_certain_prefix`] by these tables.
    pub fn append_certain_prefix(
        &self,
        beginning: &[u8],
        max_ids: usize,
        buffers: &mut MergeBuffers,
        ids: &mut Vec<u32>,
    ) -> bool {
        prefix::append_certain_prefix(&self.tables, beginning, max_ids, buffers, ids)
    }
}
