//! What the manifest of a data set says besides its files: counts, the length histogram, where the text is from.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stategpt_storage::{Label, Manifest, SCHEMA_VERSION};

use super::npy::{Dtype, file_bytes};
use crate::error::PackingError;
use crate::histogram::LengthHistogram;

/// Kind of a published folder of token shards.
pub const KIND: &str = "token_shards";
/// Largest number of documents in a data set: their numbers are 32 bits wide where rows are planned.
pub const MAX_DOCUMENTS: u64 = u32::MAX as u64;
/// Name under which the manifest holds the tokenizer's fingerprint.
pub const TOKENIZER: &str = "tokenizer";

/// Where the documents are from and what they may be used for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Where the documents are from, in words or as an address.
    pub source: String,
    /// Their license.
    pub license: String,
    /// Fingerprints of the published folders they were made from.
    pub parents: Vec<String>,
}

/// The tokenizer that shards belong to, as far as rows need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// Fingerprint of the tokenizer.
    pub fingerprint: String,
    /// Ids are below this.
    pub size: u32,
    /// Id that starts every segment and is its last target.
    pub end_of_text: u32,
    /// Id that fills the rest of a row.
    pub padding: u32,
}

/// One shard folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardCounts {
    /// Documents in the shard.
    pub documents: u64,
    /// Tokens of these documents, end of text not counted.
    pub tokens: u64,
    /// Is there a `mask.npy`?
    pub masked: bool,
}

impl ShardCounts {
    /// Its tokens and one end of text for each document; `None` beyond 64 bits, also with one more.
    pub fn stream_tokens(&self) -> Option<u64> {
        let stream = self.documents.checked_add(self.tokens)?;
        stream.checked_add(1).map(|_| stream)
    }
}

/// The data set, as `extra` of its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Ids are below this.
    pub vocab_size: u32,
    /// Id that starts every segment and is its last target.
    pub end_of_text: u32,
    /// Id that fills the rest of a row.
    pub padding: u32,
    /// Number of documents.
    pub documents: u64,
    /// Tokens of all documents, end of text not counted.
    pub tokens: u64,
    /// Do the shards hold a `doc_id.npy`? If not, a document's id is its number.
    pub document_ids: bool,
    /// Documents by length.
    pub length_histogram: LengthHistogram,
    /// The shards, in order; shard i is folder `format!("{i:05}")`.
    pub shards: Vec<ShardCounts>,
    /// Where the documents are from.
    pub source: String,
    /// Their license.
    #[serde(alias = "licence")] // its name before 0.1.0
    pub license: String,
}

impl Description {
    /// Element type of `tokens.npy`.
    pub fn token_dtype(&self) -> Dtype {
        Dtype::of_vocabulary(self.vocab_size)
    }

    /// The label under which the data set is published.
    pub fn into_label(self, tokenizer: String, parents: Vec<String>) -> Label {
        let extra = match serde_json::to_value(self) {
            Ok(Value::Object(extra)) => extra,
            // Numbers, strings and lists: always an object.
            _ => Map::new(),
        };
        let fingerprints = [(TOKENIZER.to_string(), tokenizer)].into();
        Label {
            kind: KIND.to_string(),
            fingerprints,
            parents,
            extra,
        }
    }

    /// The description that a manifest holds.
    ///
    /// # Errors
    /// `Foreign` for one of another format, or whose numbers contradict each other: any writer of a manifest can sign it,
    /// so its numbers are not to be believed before they are checked.
    pub fn of(manifest: &Manifest) -> Result<Self, PackingError> {
        let foreign = |reason: String| PackingError::Foreign {
            what: "the description of the token shards".to_string(),
            expected: format!("that of format version {SCHEMA_VERSION}"),
            found: format!("not readable ({reason})"),
            advice: "Write the shards again with this version.",
        };
        let description: Self = serde_json::from_value(Value::Object(manifest.extra.clone()))
            .map_err(|error| foreign(error.to_string()))?;
        description.check().map_err(foreign)?;
        Ok(description)
    }

    /// Do the counts agree, and can files of these sizes exist?
    fn check(&self) -> Result<(), String> {
        for (name, id) in [("end_of_text", self.end_of_text), ("padding", self.padding)] {
            if id >= self.vocab_size {
                let size = self.vocab_size;
                return Err(format!("{name} is {id}, outside the vocabulary of {size}"));
            }
        }
        let (mut documents, mut tokens) = (0_u64, 0_u64);
        for (number, shard) in self.shards.iter().enumerate() {
            let sums = shard
                .stream_tokens()
                .filter(|stream| file_bytes(Dtype::U64, *stream).is_some())
                .and_then(|_| documents.checked_add(shard.documents))
                .zip(tokens.checked_add(shard.tokens));
            (documents, tokens) = sums.ok_or_else(|| {
                let ShardCounts {
                    documents, tokens, ..
                } = shard;
                format!("shard {number} has {documents} documents of {tokens} tokens: more than files hold")
            })?;
        }
        let histogram = &self.length_histogram;
        for (what, documents, tokens) in [
            ("the shards", documents, tokens),
            (
                "the length histogram",
                histogram.documents(),
                histogram.tokens(),
            ),
        ] {
            if (documents, tokens) != (self.documents, self.tokens) {
                return Err(format!(
                    "{} documents of {} tokens, but {what} hold {documents} of {tokens}",
                    self.documents, self.tokens
                ));
            }
        }
        if documents > MAX_DOCUMENTS {
            return Err(format!(
                "{documents} documents; a data set holds at most {MAX_DOCUMENTS}"
            ));
        }
        Ok(())
    }
}

/// Folder of shard `number` within its data set.
pub fn shard_name(number: usize) -> String {
    format!("{number:05}")
}
