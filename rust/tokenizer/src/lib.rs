//! Byte-level BPE: scan, train, encode, decode, file formats. Exact, lossless on any bytes, never quadratic.
//!
//! 1. [`Trainer`] counts the pieces of documents and learns merges; [`Tokenizer::load`] and [`Tokenizer::from_tiktoken`] read
//!    them from files instead. Both give a [`Model`], the tokenizer as data.
//! 2. [`Tokenizer`] is the engine over a model: immutable, shared by threads, safe after `fork`.
//! 3. [`Tokenizer::encode`] cuts text into pieces (the [`Cutter`]: a [`Pattern`]'s hand-written scanner, or
//!    regular expressions), looks each up whole, and merges
//!    the rest; [`Tokenizer::decode`] and [`StreamDecoder`] give the bytes back.
//! 4. [`Tokenizer::to_json`] writes `tokenizer.json`, its canonical form, whose BLAKE3 (without the
//!    post-processor) is [`Tokenizer::fingerprint`].
//!
//! What it is not for: normalizers other than NFC, word-level or unigram models.

mod added;
mod batch;
mod border;
mod byte_level;
mod cache;
mod classes;
mod cutter;
mod decode;
mod engine;
mod error;
mod first;
pub mod format;
mod front;
mod holes;
mod key;
mod keyed;
mod made;
mod memory;
mod merge;
mod model;
mod nfc;
mod offsets;
mod ordered;
mod pattern;
mod scan;
mod scratches;
mod segments;
mod stop;
mod stream;
mod stretch;
mod tokenizer;
mod train;

/// Makes the tables that all tokenizers share. Otherwise they are made when first needed, and who forks meanwhile has a child that
/// waits for them for ever.
pub fn make_tables() {
    classes::Classes::get();
    scan::make_tables();
    nfc::make_tables();
}

pub use batch::{Reading, lines, read_text};
pub use classes::UNICODE_VERSION;
pub use cutter::{Cutter, Step};
pub use decode::{document, valid_text};
pub use error::{Fault, Result, TokenizerError};
#[doc(hidden)]
pub use keyed::fix_keys_for_measuring;
pub use model::{
    AddedToken, MAX_VOCABULARY, MOST_ADDED, MOST_TOKEN_BYTES, Merge, MergeOrder, Model, NO_TOKEN,
    TokenTable, Unknown,
};
pub use ordered::Ragged;
pub use pattern::Pattern;
pub use scan::{ENDS, Ends, Pieces, Tier, for_each_piece};
pub use stop::Stop;
pub use stream::StreamDecoder;
pub use tokenizer::{Special, Tokenizer};
pub use train::{Documents, Phase, Progress, Target, Trainer, Watch};
