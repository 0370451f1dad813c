//! Training: count the pieces of the corpus, then join the most frequent pair of tokens until the vocabulary is full.

mod count;
mod pairs;
mod queue;
mod words;

use crate::byte_level;
use crate::cutter::Cutter;
use crate::error::{Result, TokenizerError};
use crate::format::keep_last;
use crate::model::{AddedToken, MergeOrder, Model, TokenTable};
use crate::tokenizer::Tokenizer;
use count::PieceCounts;
use rustc_hash::FxHashMap;
use serde_json::Value;

/// Bytes of distinct pieces that training refuses.
const LIMIT: u64 = u32::MAX as u64;

/// What a trainer takes for one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Documents {
    /// Each text as it is given (`train_from_iterator` of the `tokenizers` library).
    Whole,
    /// Each line with its line end, so that no token crosses one (`train` of the `tokenizers` library).
    Lines,
}

/// What the vocabulary shall be.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Ids at most: special tokens, 256 bytes, and one per merge.
    pub vocab_size: usize,
    /// They take the first ids, in this order.
    pub special_tokens: Vec<String>,
    /// Pairs met less often are not merged.
    pub min_frequency: u64,
}

/// A corpus being counted. Its text is not kept, only its distinct pieces.
pub struct Trainer {
    cutter: Cutter,
    rule: Documents,
    threads: Option<usize>,
    counts: PieceCounts,
    documents: u64,
}

impl Trainer {
    /// Nothing counted yet. `threads`: at most so many count (`None`: as many as the machine lends); the result is the same.
    pub fn new(cutter: impl Into<Cutter>, rule: Documents, threads: Option<usize>) -> Self {
        Self {
            cutter: cutter.into(),
            rule,
            threads,
            counts: PieceCounts::default(),
            documents: 0,
        }
    }

    /// Counts the pieces of more documents.
    ///
    /// # Errors
    /// [`TokenizerError::PatternSteps`] where a regular expression of the user's own comes to its limit; none of these
    /// documents counts then.
    pub fn feed<T: AsRef<[u8]> + Sync>(&mut self, documents: &[T]) -> Result<()> {
        let counted = count::count(&self.cutter, self.rule, self.threads, documents)?;
        self.documents += documents.len() as u64;
        self.counts.merge(counted);
        Ok(())
    }

    /// Builds the tokenizer. Ties go to the smaller pair of ids, as in the `tokenizers` library.
    ///
    /// # Errors
    /// [`TokenizerError::VocabularyTooSmall`], [`TokenizerError::BadSpecialToken`], [`TokenizerError::Corpus`].
    pub fn train(&self, target: &Target) -> Result<Tokenizer> {
        self.check(target)?;
        let specials = &target.special_tokens;
        let mut tokens: Vec<Vec<u8>> = specials
            .iter()
            .map(|text| text.clone().into_bytes())
            .collect();
        let mut ids = ids_of_specials(specials);
        let mut bytes = [0; 256];
        for byte in byte_level::alphabet() {
            bytes[usize::from(byte)] = tokens.len() as u32;
            ids.insert(vec![byte], tokens.len() as u32);
            tokens.push(vec![byte]);
        }
        let words = words::Words::of(&self.counts, &bytes);
        let merges = pairs::merge_all(words, &mut tokens, &mut ids, target);
        let added = (0..).zip(specials);
        let tokens = (0..).zip(tokens).collect();
        Tokenizer::new(Model {
            nfc: false,
            prefix_space: false,
            cutter: self.cutter.clone(),
            tokens: TokenTable::of(tokens),
            merges: keep_last(merges),
            order: MergeOrder::Listed,
            whole_pieces: false,
            added: added
                .map(|(id, text)| AddedToken::control(id, text.clone()))
                .collect(),
            post_processor: Value::Null,
        })
    }

    fn check(&self, target: &Target) -> Result<()> {
        let specials = &target.special_tokens;
        let bad = |content: &String, problem| {
            Err(TokenizerError::BadSpecialToken {
                content: content.clone(),
                problem,
            })
        };
        for (place, content) in specials.iter().enumerate() {
            match byte_level::read(content) {
                _ if content.is_empty() => return bad(content, "is empty"),
                _ if specials[..place].contains(content) => return bad(content, "is given twice"),
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
        let (documents, bytes) = (self.documents, self.counts.bytes());
        match bytes {
            0 => Err(TokenizerError::Corpus {
                documents,
                bytes,
                problem: "there is no text; check the iterable or the files",
            }),
            // Symbols are numbered in 32 bits.
            LIMIT.. => Err(TokenizerError::Corpus {
                documents,
                bytes,
                problem: "more than 4 GiB; train on a sample",
            }),
            _ => Ok(()),
        }
    }
}

/// Ids of the special tokens, by the bytes their text would stand for: a merge that spells one takes its id.
fn ids_of_specials(specials: &[String]) -> FxHashMap<Vec<u8>, u32> {
    (0..)
        .zip(specials)
        .filter_map(|(id, text)| Some((byte_level::read(text)?, id)))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
