//! Every way in which packing can fail.

use std::path::PathBuf;

use stategpt_storage::StorageError;

/// What happened, the values, what to do.
#[derive(Debug, thiserror::Error)]
pub enum PackingError {
    /// Reading, writing or verifying a published folder failed.
    #[error(transparent)]
    Storage(#[from] StorageError),

    /// A shard file does not hold what its manifest says.
    #[error("{}, byte {offset}: {reason}. Restore the file or write the shards again.", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// First byte that is wrong.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },

    /// Shards or an order of rows belong to something else.
    #[error("{what} is {found}, but {expected} is needed. {advice}")]
    Foreign {
        /// What differs.
        what: String,
        /// The value needed.
        expected: String,
        /// The value found.
        found: String,
        /// What to do.
        advice: &'static str,
    },

    /// A token id is outside the vocabulary.
    #[error(
        "document {document}, token {index}: id {id} is outside the vocabulary of {vocab_size}. \
         Tokenize with the tokenizer these shards are written for."
    )]
    UnknownToken {
        /// Number of the document, from 0.
        document: u64,
        /// Place within the document.
        index: usize,
        /// The id.
        id: u32,
        /// Ids must be below this.
        vocab_size: u32,
    },

    /// A document cannot be stored.
    #[error("document {document}: {reason}")]
    BadDocument {
        /// Number of the document, from 0.
        document: u64,
        /// What is wrong, and what to do.
        reason: String,
    },

    /// A setting is out of range.
    #[error("{name} is {value}: {rule}")]
    BadSetting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        rule: String,
    },

    /// A token of an attention layout contradicts the rules.
    #[error(
        "layout: token {token} (segment_start={segment_start}, prefix_end={prefix_end}, branch_start={branch_start}, \
         position={position}, row_tokens={row_tokens}): {problem}"
    )]
    BadLayout {
        /// The token.
        token: usize,
        /// Its segment's start.
        segment_start: i64,
        /// Its prefix' end.
        prefix_end: i64,
        /// Its branch's start.
        branch_start: i64,
        /// Its position.
        position: i64,
        /// Tokens of a row.
        row_tokens: i64,
        /// The rule that does not hold.
        problem: &'static str,
    },

    /// A source gives no rows.
    #[error(
        "source {source_name:?} has no rows of {row_tokens} tokens to draw from; leave it out or give it documents."
    )]
    NoRows {
        /// Name of the source in the mixture.
        source_name: String,
        /// Tokens of a row.
        row_tokens: u32,
    },

    /// A row number past the end.
    #[error("row {row} does not exist: there are {rows}, numbered from 0.")]
    NoSuchRow {
        /// The row asked for.
        row: u64,
        /// How many there are.
        rows: u64,
    },

    /// A document number past the end.
    #[error("document {document} does not exist: there are {documents}, numbered from 0.")]
    NoSuchDocument {
        /// The document asked for.
        document: u64,
        /// How many there are.
        documents: u64,
    },

    /// A mixture has drawn a source as often as it may.
    #[error(
        "row {row} falls in epoch {epoch} of source {source_name:?}, beyond max_epochs = {max_epochs}. \
         Lower its proportion, add data, draw fewer rows or raise max_epochs."
    )]
    Exhausted {
        /// The row asked for.
        row: u64,
        /// Name of the source in the mixture.
        source_name: String,
        /// The epoch it falls in, from 1.
        epoch: u64,
        /// The limit.
        max_epochs: f64,
    },
}

impl PackingError {
    /// A setting that breaks `rule`.
    pub fn setting(name: &'static str, value: impl ToString, rule: impl Into<String>) -> Self {
        Self::BadSetting {
            name,
            value: value.to_string(),
            rule: rule.into(),
        }
    }
}
