//! Training: counts the pre-tokens of the corpus, then joins the most frequent pair of tokens until the vocabulary is full.
//!
//! `count` and `shards` hold the distinct pre-tokens, `words` writes them as tokens, `candidates` determines the next pair,
//! `merges` is the loop. `docs/decisions/0012-bpe-training.md` has the reasons.

mod candidates;
mod count;
mod feed;
mod files;
mod gains;
mod long_words;
mod merges;
mod pair_scan;
mod progress;
mod shards;
mod split;
mod table;
mod target;
mod words;

use crate::byte_level;
use crate::error::{Result, TokenizerError};
use crate::format::keep_last;
use crate::keyed::KeyedSet;
use crate::model::{
    AddedToken, MAX_ADDED_TOKENS, MAX_VOCABULARY, Merge, MergeOrder, Model, TokenTable, Unknown,
};
use crate::pre_tokenizer::PreTokenizer;
use crate::tokenizer::Tokenizer;
use count::LocalCounts;
use merges::{Plan, Tokens, keep, merge_all};
pub use progress::{Phase, Progress, Watch};
use serde_json::Value;
use shards::{PreTokenCounts, SHARDS, Size};
pub use target::{Documents, Target};
use words::{Symbol, Words};

/// The number of positions in the words: they are numbered in 31 bits.
const MAX_PLACES: u64 = 1 << 31;

/// A corpus being counted. Its text is not kept, only its distinct pre-tokens.
pub struct Trainer {
    pre_tokenizer: PreTokenizer,
    rule: Documents,
    threads: Option<usize>,
    /// The maximum memory of the distinct pre-tokens.
    memory_limit: Option<u64>,
    pre_tokens: PreTokenCounts,
    /// One per thread so far.
    local_counts: Vec<LocalCounts>,
    documents: u64,
    /// Bytes of text counted, and bytes expected (0: unknown).
    counted_bytes: u64,
    expected_bytes: u64,
    /// Bytes of all pre-tokens with their repetitions: no pair's count exceeds this.
    total_bytes: u128,
}

impl Trainer {
    /// A trainer that has counted nothing. `threads`: the maximum number of threads (`None`: as many as there are cores); the
    /// result does not depend on it.
    pub fn new(
        pre_tokenizer: impl Into<PreTokenizer>,
        rule: Documents,
        threads: Option<usize>,
    ) -> Self {
        Self {
            pre_tokenizer: pre_tokenizer.into(),
            rule,
            threads,
            memory_limit: None,
            pre_tokens: PreTokenCounts::default(),
            local_counts: Vec::new(),
            documents: 0,
            counted_bytes: 0,
            expected_bytes: 0,
            total_bytes: 0,
        }
    }

    /// Refuses a corpus whose distinct pre-tokens take more than `bytes` bytes of memory while they are counted. Merging takes up
    /// to about three times as much in addition.
    #[must_use]
    pub fn with_memory_limit(mut self, bytes: Option<u64>) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// Sets the total number of bytes of text, for [`Progress::total`].
    pub fn expect_bytes(&mut self, bytes: u64) {
        self.expected_bytes = bytes;
    }

    /// Bytes of text counted so far.
    pub fn counted_bytes(&self) -> u64 {
        self.counted_bytes
    }

    /// Builds the tokenizer. Ties go to the smaller pair of ids, as in the `tokenizers` library.
    ///
    /// # Errors
    /// [`TokenizerError::VocabularyTooSmall`], [`TokenizerError::BadSpecialToken`], [`TokenizerError::Corpus`],
    /// [`TokenizerError::MemoryLimit`].
    pub fn train(self, target: &Target) -> Result<Tokenizer> {
        self.train_watched(target, &mut Watch::new(&mut |_| true))
    }

    /// As [`Trainer::train`], with progress reports to `watch`.
    ///
    /// # Errors
    /// As [`Trainer::train`], and [`TokenizerError::TrainingInterrupted`] if the watch says so.
    pub fn train_watched(mut self, target: &Target, watch: &mut Watch<'_>) -> Result<Tokenizer> {
        for local in std::mem::take(&mut self.local_counts) {
            local.finish(&self.pre_tokens);
        }
        self.check_special_tokens(target)?;
        self.check_corpus()?;
        let (mut tokens, bytes) = first_tokens(&target.special_tokens);
        // Two bytes per token if possible: half the memory, and more of it in the caches.
        let merges = if target.vocab_size <= 1 << 16 {
            self.merge::<u16>(&bytes, &mut tokens, target, watch)
        } else {
            self.merge::<u32>(&bytes, &mut tokens, target, watch)
        }?;
        for (bytes, text) in tokens.bytes.iter_mut().zip(&target.special_tokens) {
            *bytes = text.clone().into_bytes();
        }
        let added = (0..).zip(&target.special_tokens);
        Tokenizer::new(Model {
            nfc: false,
            prefix_space: false,
            pre_tokenizer: self.pre_tokenizer.clone(),
            tokens: TokenTable::of((0..).zip(tokens.bytes).collect()),
            merges: keep_last(merges),
            order: MergeOrder::Listed,
            ignore_merges: false,
            unknown: Unknown::Refused,
            added: added
                .map(|(id, text)| AddedToken::control(id, text.clone()))
                .collect(),
            post_processor: Value::Null,
        })
    }

    fn merge<S: Symbol>(
        &mut self,
        bytes: &[u32; 256],
        tokens: &mut Tokens,
        target: &Target,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Merge>> {
        let size = self.pre_tokens.size();
        let mut words = Words::<S>::default();
        words.reserve(size.pre_tokens, size.text_bytes);
        for shard in 0..SHARDS {
            // Taken out, so that its memory is freed before the next one is written as words.
            std::mem::take(&mut *self.pre_tokens.shard(shard))
                .for_each(|pre_token, count| words.push(pre_token, count, bytes));
            watch.report_if_due(Phase::Merging, 0, 0)?;
        }
        let plan = Plan {
            target,
            first_byte: target.special_tokens.len() as u32,
            keep,
        };
        merge_all(words, tokens, &plan, watch)
    }

    fn check_special_tokens(&self, target: &Target) -> Result<()> {
        let specials = &target.special_tokens;
        for (what, number, limit) in [
            ("vocab_size", target.vocab_size, MAX_VOCABULARY),
            (
                "the number of special tokens",
                specials.len(),
                MAX_ADDED_TOKENS,
            ),
        ] {
            if number > limit {
                return Err(TokenizerError::TooMany {
                    what,
                    number,
                    limit,
                });
            }
        }
        let bad = |content: &str, problem| Err(TokenizerError::bad_special(content, problem));
        let mut known = KeyedSet::default();
        for content in specials {
            match byte_level::read(content) {
                _ if content.is_empty() => return bad(content, "is empty"),
                _ if !known.insert(content.as_str()) => return bad(content, "is given twice"),
                Some(bytes) if bytes.len() == 1 => {
                    return bad(
                        content,
                        "is the token of a single byte, which plain text needs",
                    );
                }
                _ => {}
            }
        }
        if target.vocab_size < specials.len() + 256 {
            return Err(TokenizerError::VocabularyTooSmall {
                vocab_size: target.vocab_size,
                special: specials.len(),
            });
        }
        Ok(())
    }

    fn check_corpus(&self) -> Result<()> {
        let size = self.pre_tokens.size();
        self.check_memory(size)?;
        let problem = match () {
            () if size.text_bytes == 0 => "there is no text; check the iterable or the files",
            () if size.text_bytes + 5 * size.pre_tokens >= MAX_PLACES => {
                "more than 2 GiB; train on a sample"
            }
            () if self.total_bytes >= 1 << 63 => {
                "the counts add up to more than 2^63 bytes; divide them"
            }
            () => return Ok(()),
        };
        Err(TokenizerError::Corpus {
            documents: self.documents,
            bytes: size.text_bytes,
            problem,
        })
    }

    fn check_memory(&self, size: Size) -> Result<()> {
        match self.memory_limit {
            Some(limit) if size.memory_bytes > limit => Err(TokenizerError::MemoryLimit {
                pre_tokens: size.pre_tokens,
                bytes: size.memory_bytes,
                limit,
            }),
            _ => Ok(()),
        }
    }
}

/// The special tokens and the bytes, and the id of each byte.
fn first_tokens(specials: &[String]) -> (Tokens, [u32; 256]) {
    // A merge that spells a special token, in the alphabet of tokenizer.json, takes its id; later merges use the bytes that it
    // spells.
    let spelt = |text: &String| byte_level::read(text).unwrap_or_else(|| text.clone().into_bytes());
    let mut tokens = Tokens {
        bytes: specials.iter().map(spelt).collect(),
        ids: (0..)
            .zip(specials)
            .filter_map(|(id, text)| Some((byte_level::read(text)?, id)))
            .collect(),
    };
    let mut bytes = [0; 256];
    for byte in byte_level::alphabet() {
        let id = tokens.bytes.len() as u32;
        bytes[usize::from(byte)] = id;
        tokens.ids.insert(vec![byte], id);
        tokens.bytes.push(vec![byte]);
    }
    (tokens, bytes)
}

#[cfg(test)]
pub(crate) mod tests;
