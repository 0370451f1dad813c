//! Texts to token shards.

use std::sync::Arc;

use stategpt_lines::Texts;
use stategpt_packing::{DocumentRef, Provenance, ShardWriter};
use stategpt_storage::Manifest;
use stategpt_tokenizer::{Special, Tokenizer};

use crate::shards::{ShardingError, refuse_end_in_text};

/// Tokenizes texts and stores each as a document, in order. The bytes written do not depend on `threads`, nor on how many
/// texts are given at a time.
///
/// Text never yields a token flagged special; with [`Special::Unflagged`] it yields other added tokens.
///
/// Without a tokenizer it stores ids that were made elsewhere, by the same protocol.
pub struct TextWriter {
    writer: ShardWriter,
    encoder: Option<Encoder>,
}

struct Encoder {
    tokenizer: Arc<Tokenizer>,
    special: Special,
    threads: Option<usize>,
}

impl TextWriter {
    /// Puts a tokenizer before `writer`, on at most `threads` threads (`None`: all cores).
    pub fn new(
        writer: ShardWriter,
        tokenizer: Arc<Tokenizer>,
        special: Special,
        threads: Option<usize>,
    ) -> Self {
        let encoder = Encoder {
            tokenizer,
            special,
            threads,
        };
        Self {
            writer,
            encoder: Some(encoder),
        }
    }

    /// Stores documents that another tokenizer made; texts are refused.
    pub fn of_ids(writer: ShardWriter) -> Self {
        Self {
            writer,
            encoder: None,
        }
    }

    /// Documents taken so far.
    pub fn documents(&self) -> u64 {
        self.writer.documents()
    }

    /// Stores documents of UTF-8.
    ///
    /// # Errors
    /// [`ShardingError`] with the number of the document.
    pub fn push_texts<T: AsRef<[u8]> + Sync>(&mut self, texts: &[T]) -> Result<(), ShardingError> {
        for (document, text) in (self.documents()..).zip(texts) {
            if let Err(error) = std::str::from_utf8(text.as_ref()) {
                return Err(ShardingError::NotUtf8 {
                    document,
                    offset: error.valid_up_to(),
                });
            }
        }
        self.store(texts)
    }

    /// Stores the texts that were gathered from files, which are UTF-8.
    ///
    /// # Errors
    /// As [`TextWriter::push_texts`].
    pub fn push_gathered(&mut self, texts: &Texts) -> Result<(), ShardingError> {
        self.store(&texts.iter().collect::<Vec<_>>())
    }

    /// Stores a document that is already ids.
    ///
    /// # Errors
    /// As [`ShardWriter::push`].
    pub fn push_ids(&mut self, document: DocumentRef<'_>) -> Result<(), ShardingError> {
        Ok(self.writer.push(document)?)
    }

    /// Stores documents that are already ids: number `i` is `ids[offsets[i]..offsets[i + 1]]`.
    ///
    /// # Errors
    /// [`ShardingError::Offsets`]; otherwise as [`ShardWriter::push`]. Documents before the one at fault are stored.
    pub fn push_encoded(&mut self, ids: &[u32], offsets: &[u64]) -> Result<(), ShardingError> {
        let whole = offsets.first() == Some(&0) && offsets.last() == Some(&(ids.len() as u64));
        if !whole || !offsets.is_sorted() {
            return Err(ShardingError::Offsets { ids: ids.len() });
        }
        for bounds in offsets.windows(2) {
            self.writer.push(DocumentRef {
                ids: &ids[bounds[0] as usize..bounds[1] as usize],
                mask: None,
                doc_id: None,
            })?;
        }
        Ok(())
    }

    /// Publishes the data set under its final name, as [`ShardWriter::publish_while`].
    ///
    /// # Errors
    /// As [`ShardWriter::publish_while`]; then nothing is published.
    pub fn publish_while(
        self,
        provenance: Provenance,
        should_continue: &dyn Fn() -> bool,
    ) -> Result<Manifest, ShardingError> {
        Ok(self.writer.publish_while(provenance, should_continue)?)
    }

    fn store<T: AsRef<[u8]> + Sync>(&mut self, texts: &[T]) -> Result<(), ShardingError> {
        let encoder = self.encoder.as_ref().ok_or(ShardingError::NoTokenizer)?;
        refuse_end_in_text(
            self.writer.vocabulary(),
            &encoder.tokenizer,
            encoder.special,
        )?;
        for (document, text) in (self.documents()..).zip(texts) {
            let bytes = text.as_ref().len();
            if bytes >= u32::MAX as usize {
                return Err(ShardingError::TooLarge { document, bytes });
            }
        }
        let encoded = encoder
            .tokenizer
            .encode_batch(texts, encoder.special, encoder.threads)?;
        self.push_encoded(&encoded.ids, &encoded.offsets)
    }
}
