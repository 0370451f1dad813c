//! The tokenizer: a model with its look-up tables, immutable once built and shared by threads.

use crate::cancel::CancelFlag;
use crate::decode::{Decoder, SlotTable, valid_text};
use crate::encode::batch::BatchEncoder;
use crate::encode::document::{count_ids, encode_into, encode_parts, pre_tokens};
use crate::encode::{Bounds, Ragged, ScratchPool, Tables, offsets};
use crate::error::Result;
use crate::format::{huggingface, tiktoken};
use crate::lazy::TryLazy;
use crate::memory::reserve;
use crate::model::Model;
use crate::pre_tokenizer::PreTokenizer;
use crate::reading::Reading;
use crate::special::Special;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// A byte-level BPE tokenizer.
pub struct Tokenizer {
    pub(crate) tables: Tables,
    pool: ScratchPool,
    pub(crate) slots: TryLazy<SlotTable>,
    fingerprint: TryLazy<String>,
}

/// Building, loading, saving.
impl Tokenizer {
    /// Builds the tables of `model`.
    ///
    /// # Errors
    /// [`crate::TokenizerError`] if a byte has no token or an added token is one that plain text needs.
    pub fn new(model: Model) -> Result<Self> {
        Ok(Self {
            tables: Tables::new(model)?,
            pool: ScratchPool::default(),
            slots: TryLazy::default(),
            fingerprint: TryLazy::default(),
        })
    }

    /// Reads a `tokenizer.json` from disk.
    ///
    /// # Errors
    /// [`crate::TokenizerError::Io`]; [`crate::TokenizerError::Format`] as [`Tokenizer::from_json`].
    pub fn load(path: &Path) -> Result<Self> {
        Self::of_file(path, huggingface::read_model(path))
    }

    /// Reads the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`crate::TokenizerError::Format`] with the JSON path of what is malformed or not covered.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        Self::new(huggingface::parse(json)?)
    }

    /// Reads a rank file. `special` gives the ids of the special tokens, which rank files do not hold.
    ///
    /// # Errors
    /// [`crate::TokenizerError::Io`], [`crate::TokenizerError::BadSpecialToken`]; as [`Tokenizer::from_json`], with the line.
    pub fn from_tiktoken(
        path: &Path,
        pre_tokenizer: impl Into<PreTokenizer>,
        special: &[(String, u32)],
    ) -> Result<Self> {
        Self::of_file(path, tiktoken::read_model(path, pre_tokenizer, special))
    }

    fn of_file(path: &Path, model: Result<Model>) -> Result<Self> {
        let tokenizer = model.and_then(Self::new);
        tokenizer.map_err(|error| error.of_origin(path))
    }

    /// The tokenizer as `tokenizer.json`; equal tokenizers give equal text.
    pub fn to_json(&self) -> String {
        huggingface::write(self.model())
    }

    /// BLAKE3 of [`Tokenizer::to_json`] without the post-processor, as `b3:` and hexadecimal digits: equal for tokenizers that
    /// encode and decode alike by the same tables, whatever other libraries add to a text.
    pub fn fingerprint(&self) -> Cow<'_, str> {
        let make = || {
            let encoding = huggingface::write_encoding(self.model());
            format!("b3:{}", blake3::hash(encoding.as_bytes()).to_hex())
        };
        match self.fingerprint.get_or_build(make) {
            Some(made) => Cow::Borrowed(made),
            None => Cow::Owned(make()),
        }
    }

    /// The tokenizer as data.
    pub fn model(&self) -> &Model {
        self.tables.model()
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.model().tokens.len()
    }

    /// The id of an added token.
    ///
    /// # Errors
    /// [`crate::TokenizerError::UnknownSpecialToken`] lists the added tokens that exist.
    pub fn special_id(&self, content: &str) -> Result<u32> {
        self.model().special_id(content)
    }

    /// The bytes of a token.
    ///
    /// # Errors
    /// [`crate::TokenizerError::UnknownToken`] for an id outside the vocabulary or in one of its gaps.
    pub fn token_bytes(&self, id: u32) -> Result<&[u8]> {
        self.model().token_bytes(id)
    }
}

/// Encoding one text.
impl Tokenizer {
    /// The ids of any bytes. Lossless: [`Tokenizer::decode`] gives the (normalized) bytes back.
    ///
    /// # Errors
    /// [`crate::TokenizerError::PatternSteps`] where a user-defined regular expression reaches its limit of steps.
    pub fn encode(&self, text: &[u8], special: Special) -> Result<Vec<u32>> {
        self.encode_bounded(text, special, Bounds::default(), text.len() / 3 + 1)
    }

    /// As [`Tokenizer::encode`], until `cancel` is raised.
    ///
    /// # Errors
    /// [`crate::TokenizerError::Interrupted`] if it was; else as [`Tokenizer::encode`].
    pub fn encode_until(
        &self,
        text: &[u8],
        special: Special,
        cancel: &CancelFlag,
    ) -> Result<Vec<u32>> {
        let ids = self.encode_bounded(text, special, Bounds::until(cancel), text.len() / 3 + 1)?;
        cancel.check().map(|()| ids)
    }

    /// The first `max_ids` of the ids that [`Tokenizer::encode`] gives, unless `cancel` is raised. O(bytes of those ids), in text
    /// that has words and in a pre-token of any length (if white space comes before it, its end has to be found). Other text
    /// without a split point is pre-tokenized; with a user-defined regular expression, all of the text is encoded.
    ///
    /// # Errors
    /// [`crate::TokenizerError::Interrupted`] if it was; else as [`Tokenizer::encode`].
    pub fn encode_at_most(
        &self,
        text: &[u8],
        special: Special,
        max_ids: usize,
        cancel: &CancelFlag,
    ) -> Result<Vec<u32>> {
        let mut ids = self.encode_bounded(text, special, Bounds::first(max_ids, cancel), 0)?;
        ids.truncate(max_ids);
        cancel.check().map(|()| ids)
    }

    fn encode_bounded(
        &self,
        text: &[u8],
        special: Special,
        bounds: Bounds,
        expected: usize,
    ) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        reserve(&mut ids, expected, "ids")?;
        self.pool.with_bounds(bounds, |scratch| {
            encode_into(&self.tables, text, special, scratch, &mut ids)
        })?;
        Ok(ids)
    }

    /// Passes the ids of a text to `take`, which copies them to their destination. For short texts: nothing is allocated.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with<T>(
        &self,
        text: &[u8],
        special: Special,
        take: impl FnOnce(&[u32]) -> T,
    ) -> Result<T> {
        self.pool.with_scratch(|scratch| {
            let mut ids = std::mem::take(&mut scratch.ids);
            ids.clear();
            let encoded = encode_into(&self.tables, text, special, scratch, &mut ids);
            let taken = encoded.map(|()| take(&ids));
            scratch.keep(ids);
            taken
        })
    }

    /// The ids of texts, in which no added token is searched for, and of control tokens between them.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_until`].
    pub fn encode_parts<'p>(
        &self,
        parts: impl Iterator<Item = std::result::Result<&'p [u8], u32>>,
        cancel: &CancelFlag,
    ) -> Result<Vec<u32>> {
        encode_parts(&self.tables, &self.pool, parts, cancel)
    }

    /// The ids of `text`, and the byte offset at which each begins, followed by the length of the text.
    ///
    /// Offsets refer to the given `text`: a token of a prepended space is empty there, and one that begins inside a character
    /// that normalization changed begins where that character does.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_until`].
    pub fn encode_with_offsets(
        &self,
        text: &[u8],
        special: Special,
        cancel: &CancelFlag,
    ) -> Result<(Vec<u32>, Vec<u64>)> {
        offsets::encode_with_offsets(&self.tables, &self.pool, text, special, cancel)
    }

    /// The ids of `text`, and the characters that each covers: `[first, end]`. Tokens that share a character all cover it, and so
    /// do those of characters that normalization decomposes or composes. A byte that continues no character counts as part of the
    /// previous one. Only a token that is a prepended space covers none.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_until`].
    pub fn encode_with_spans(
        &self,
        text: &[u8],
        special: Special,
        cancel: &CancelFlag,
    ) -> Result<(Vec<u32>, Vec<[u64; 2]>)> {
        offsets::encode_with_spans(&self.tables, &self.pool, text, special, cancel)
    }

    /// The number of ids that [`Tokenizer::encode`] would give; they are not kept.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn count(&self, text: &[u8], special: Special) -> Result<usize> {
        self.pool
            .with_scratch(|scratch| count_ids(&self.tables, text, special, scratch))
    }

    /// As [`Tokenizer::count`], until `cancel` is raised.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_until`].
    pub fn count_until(&self, text: &[u8], special: Special, cancel: &CancelFlag) -> Result<usize> {
        let count = self.pool.with_bounds(Bounds::until(cancel), |scratch| {
            count_ids(&self.tables, text, special, scratch)
        })?;
        cancel.check().map(|()| count)
    }

    /// The pre-tokens of `text`.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_until`].
    pub fn pre_tokens<'t>(&self, text: &'t str, cancel: &CancelFlag) -> Result<Vec<&'t str>> {
        pre_tokens(&self.tables, text, cancel)
    }
}

/// Encoding many documents, on at most `threads` threads (`None`: one per core). The result does not depend on their number.
impl Tokenizer {
    /// Encodes each text.
    ///
    /// # Errors
    /// The first error of [`Tokenizer::encode`].
    pub fn encode_batch<T: AsRef<[u8]> + Sync>(
        &self,
        texts: &[T],
        special: Special,
        threads: Option<usize>,
    ) -> Result<Ragged> {
        self.encode_batch_until(texts, special, threads, &CancelFlag::default())
    }

    /// As [`Tokenizer::encode_batch`], until `cancel` is raised.
    ///
    /// # Errors
    /// [`crate::TokenizerError::Interrupted`] if it was.
    pub fn encode_batch_until<T: AsRef<[u8]> + Sync>(
        &self,
        texts: &[T],
        special: Special,
        threads: Option<usize>,
        cancel: &CancelFlag,
    ) -> Result<Ragged> {
        self.batch(special, threads, cancel).texts(texts)
    }

    /// Where each text's ids would begin, followed by their total number: the offsets of [`Tokenizer::encode_batch`] without the
    /// ids.
    ///
    /// # Errors
    /// [`crate::TokenizerError::Interrupted`] if `cancel` was raised.
    pub fn count_batch<T: AsRef<[u8]> + Sync>(
        &self,
        texts: &[T],
        special: Special,
        threads: Option<usize>,
        cancel: &CancelFlag,
    ) -> Result<Vec<u64>> {
        self.batch(special, threads, cancel).count(texts)
    }

    /// Encodes files, each one document, or each line one (with its line end), until `cancel` is raised.
    ///
    /// # Errors
    /// [`crate::TokenizerError::Io`], [`crate::TokenizerError::NotUtf8`]; else as [`Tokenizer::encode_batch_until`].
    pub fn encode_files(
        &self,
        paths: &[PathBuf],
        special: Special,
        reading: Reading,
        threads: Option<usize>,
        cancel: &CancelFlag,
    ) -> Result<Ragged> {
        self.batch(special, threads, cancel).files(paths, reading)
    }

    fn batch<'c>(
        &'c self,
        special: Special,
        threads: Option<usize>,
        cancel: &'c CancelFlag,
    ) -> BatchEncoder<'c> {
        BatchEncoder {
            tables: &self.tables,
            pool: &self.pool,
            special,
            threads,
            cancel,
        }
    }
}

/// Decoding. `skip_special` leaves out added tokens flagged special.
impl Tokenizer {
    /// The bytes of `ids`, concatenated.
    ///
    /// # Errors
    /// [`crate::TokenizerError::UnknownToken`] for an id outside the vocabulary.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<Vec<u8>> {
        self.decode_until(ids, skip_special, &CancelFlag::default())
    }

    /// As [`Tokenizer::decode`], until `cancel` is raised.
    ///
    /// # Errors
    /// [`crate::TokenizerError::Interrupted`] if it was; else as [`Tokenizer::decode`].
    pub fn decode_until(
        &self,
        ids: &[u32],
        skip_special: bool,
        cancel: &CancelFlag,
    ) -> Result<Vec<u8>> {
        self.decoder(skip_special).decode(ids, cancel)
    }

    /// The text of `ids`; invalid UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn decode_text(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let bytes = self.decode(ids, skip_special)?;
        String::from_utf8(bytes).or_else(|error| valid_text(error.as_bytes()))
    }

    /// The bytes of documents, `ids[offsets[i]..offsets[i + 1]]` each, concatenated, and where each ends.
    ///
    /// # Errors
    /// As [`Tokenizer::decode_until`]; [`crate::TokenizerError::BadOffsets`] if offsets decrease or exceed the number of ids.
    pub fn decode_documents(
        &self,
        ids: &[u32],
        offsets: &[u64],
        skip_special: bool,
        cancel: &CancelFlag,
    ) -> Result<(Vec<u8>, Vec<usize>)> {
        self.decoder(skip_special)
            .decode_documents(ids, offsets, cancel)
    }

    fn decoder(&self, skip_special: bool) -> Decoder<'_> {
        let make = || SlotTable::of(self.model());
        Decoder {
            model: self.model(),
            slots: self.slots.get_or_build(make),
            skip_special,
        }
    }
}
