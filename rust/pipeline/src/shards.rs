//! What token shards must know of a tokenizer, and why documents cannot be written.

use stategpt_packing::{PackingError, Vocabulary};
use stategpt_tokenizer::{Special, Tokenizer, TokenizerError};

/// What happened, the values, what to do.
#[derive(Debug, thiserror::Error)]
pub enum ShardingError {
    /// A shard could not be written.
    #[error(transparent)]
    Packing(#[from] PackingError),

    /// The tokenizer lacks a token.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),

    /// A document is not text.
    #[error(
        "document {document}, byte {offset}: not UTF-8. Decode it with its own encoding, or leave it out."
    )]
    NotUtf8 {
        /// Number of the document in the data set, from 0.
        document: u64,
        /// First byte that is wrong.
        offset: usize,
    },

    /// A text for a writer that stores the ids of another tokenizer.
    #[error("these shards hold the ids of another tokenizer; give ids and offsets.")]
    NoTokenizer,

    /// Documents that do not cover their ids end to end.
    #[error("the offsets of documents must ascend from 0 to {ids}, the number of their ids.")]
    Offsets {
        /// How many ids there are.
        ids: usize,
    },

    /// Text could end a document or hold padding.
    #[error(
        "special=\"unflagged\": the added token {content:?} is not flagged special, so text that spells it would become the \
         token that ends documents or pads rows. Flag it in the tokenizer's file (\"special\": true), or use special=\"text\"."
    )]
    EndIsText {
        /// The token around documents, or the one that pads.
        content: String,
    },

    /// A document has more bytes than the tokenizer counts.
    #[error(
        "document {document} has {bytes} bytes; at most {} are tokenized at once. Split it.",
        u32::MAX
    )]
    TooLarge {
        /// Number of the document in the data set, from 0.
        document: u64,
        /// Its size.
        bytes: usize,
    },
}

/// What shards must know of `tokenizer`. Without a `padding` token, end of text pads: nothing sees or learns
/// a padding token, so which id it has does not matter.
pub fn vocabulary(
    tokenizer: &Tokenizer,
    end_of_text: &str,
    padding: Option<&str>,
) -> Result<Vocabulary, ShardingError> {
    let end_of_text = tokenizer.special_id(end_of_text)?;
    Ok(Vocabulary {
        fingerprint: tokenizer.fingerprint().into_owned(),
        // A vocabulary is far smaller than 2^32: the tokenizer's own limit.
        size: u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX),
        end_of_text,
        padding: padding.map_or(Ok(end_of_text), |padding| tokenizer.special_id(padding))?,
    })
}

/// Ids below the vocabulary's size that no token has: nothing may be stored under them.
pub fn gaps(tokenizer: &Tokenizer) -> Vec<u32> {
    let model = tokenizer.model();
    let ids = model.tokens.iter().map(|(id, _)| id);
    missing(
        ids.chain(model.added.iter().map(|token| token.id))
            .collect(),
    )
}

/// Ids below the largest that are not among these.
pub fn missing(mut taken: Vec<u32>) -> Vec<u32> {
    taken.sort_unstable();
    let mut gaps = Vec::new();
    let mut next = 0;
    for id in taken {
        gaps.extend(next..id);
        next = id + 1;
    }
    gaps
}

/// Refuses a mode in which a document's text could hold the token that ends documents, or the one that pads.
pub(crate) fn refuse_end_in_text(
    vocabulary: &Vocabulary,
    tokenizer: &Tokenizer,
    special: Special,
) -> Result<(), ShardingError> {
    let ends = |id| id == vocabulary.end_of_text || id == vocabulary.padding;
    let mut added = tokenizer.model().added.iter();
    let found = added.find(|token| ends(token.id) && special.takes(token.special));
    found.map_or(Ok(()), |token| {
        Err(ShardingError::EndIsText {
            content: token.content.clone(),
        })
    })
}
