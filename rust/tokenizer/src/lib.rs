//! Byte-level BPE: scan, train, encode, decode, file formats. Exact, lossless on any bytes, never quadratic.
//!
//! 1. [`Trainer`] counts the pre-tokens of documents and learns merges; [`Tokenizer::load`] and [`Tokenizer::from_tiktoken`] read
//!    them from files instead. Both give a [`Model`], the tokenizer as data.
//! 2. [`Tokenizer`] is the engine for a model: immutable, shared by threads, safe after `fork`.
//! 3. [`Tokenizer::encode`] splits text into pre-tokens (the [`PreTokenizer`]: a [`Pattern`]'s hand-written scanner, or regular
//!    expressions), looks each up as a whole, and merges the rest; [`Tokenizer::decode`] and [`StreamDecoder`] give the bytes
//!    back.
//! 4. [`Tokenizer::to_json`] writes `tokenizer.json`, its canonical form, whose BLAKE3 (without the
//!    post-processor) is [`Tokenizer::fingerprint`].
//!
//! Out of scope: normalizers other than NFC, word-level and unigram models.

// The tokenizer as data, and its one public type.
mod error;
mod model;
mod pattern;
mod special;
mod tokenizer;

// Text to segments, segments to pre-tokens.
mod classes;
mod pre_tokenizer;
mod scan;
mod segment;
mod split_point;

// Pre-tokens to tokens.
mod encode;
mod merge;

// Tokens to text.
mod decode;

// Training.
mod train;

// File formats.
mod byte_level;
pub mod format;
mod reading;

// Helpers that do not depend on the rest.
mod cancel;
mod keyed;
mod lazy;
mod memory;
mod short_key;
mod threads;

/// Builds the tables that all tokenizers share. Otherwise they are built on first use, and a child forked during the build waits
/// for them forever.
pub fn make_tables() {
    classes::Classes::get();
    scan::make_tables();
    segment::nfc::make_tables();
}

pub use cancel::CancelFlag;
pub use classes::UNICODE_VERSION;
pub use decode::stream::StreamDecoder;
pub use decode::{document, valid_text};
pub use encode::Ragged;
pub use error::{Fault, Result, TokenizerError};
#[doc(hidden)]
pub use keyed::fix_keys_for_measuring;
pub use model::{
    AddedToken, MAX_ADDED_TOKENS, MAX_TOKEN_BYTES, MAX_VOCABULARY, Merge, MergeOrder, Model,
    NO_TOKEN, TokenTable, Unknown,
};
pub use pattern::Pattern;
pub use pre_tokenizer::{PreTokenizer, Step};
pub use reading::{Reading, lines, read_text};
pub use scan::{ENDS, Ends, PreTokens, Tier, for_each_pre_token};
pub use special::Special;
pub use tokenizer::Tokenizer;
pub use train::{Documents, Phase, Progress, Target, Trainer, Watch};
