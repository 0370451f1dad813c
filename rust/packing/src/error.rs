//! Every way in which packing can fail.

use std::path::PathBuf;

use stategpt_layout::LayoutError;
use stategpt_storage::StorageError;

/// What happened, the values, what to do.
#[derive(Debug, thiserror::Error)]
pub enum PackingError {
    /// Reading, writing or verifying a published folder failed.
    #[error(transparent)]
    Storage(#[from] StorageError),

    /// The attention layout of a batch cannot be built.
    #[error(transparent)]
    Layout(#[from] LayoutError),

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

    /// A token id is outside the vocabulary, or in a gap of it.
    #[error(
        "document {document}, token {index}: id {id} is {} the vocabulary of {vocab_size}. \
         Tokenize with the tokenizer these shards are written for.",
        if id < vocab_size { "in a gap of" } else { "outside" }
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

    /// An allocation does not fit in memory.
    #[error("{what} of {bytes} bytes do not fit in memory; {advice}.")]
    OutOfMemory {
        /// What the memory was for.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// What to do.
        advice: &'static str,
    },

    /// A source gives no rows.
    #[error(
        "source {source_name:?} has no rows of {row_tokens} tokens to draw from: {}",
        without_rows(*rejected)
    )]
    NoRows {
        /// Name of the source in the mixture.
        source_name: String,
        /// Tokens of a row.
        row_tokens: u32,
        /// Documents of it that were left out as longer than a row.
        rejected: u64,
    },

    /// A row number past the end.
    #[error("row {row} does not exist: there are {rows}, numbered from 0.")]
    NoSuchRow {
        /// The requested row.
        row: u64,
        /// Number of existing ones.
        rows: u64,
    },

    /// A document number past the end.
    #[error("document {document} does not exist: there are {documents}, numbered from 0.")]
    NoSuchDocument {
        /// The requested document.
        document: u64,
        /// Number of existing ones.
        documents: u64,
    },

    /// A mixture has drawn a source as often as it may.
    #[error(
        "row {row} falls in epoch {epoch} of source {source_name:?}, beyond max_epochs = {max_epochs}. \
         Lower its proportion, add data, draw fewer rows or raise max_epochs."
    )]
    Exhausted {
        /// The requested row.
        row: u64,
        /// Name of the source in the mixture.
        source_name: String,
        /// The epoch it falls in, from 1.
        epoch: u64,
        /// The limit.
        max_epochs: f64,
    },
}

fn without_rows(rejected: u64) -> String {
    match rejected {
        0 => "it has no documents. Give it some, or leave it out.".to_string(),
        _ => format!(
            "all its {rejected} documents are longer than a row and were rejected. \
             Raise row_tokens, split them (too_long=\"split\"), or leave the source out."
        ),
    }
}

/// `count` times `fill`, or an error if they do not fit in memory.
pub(crate) fn filled<T: Clone>(
    fill: T,
    count: usize,
    what: &'static str,
    advice: &'static str,
) -> Result<Vec<T>, PackingError> {
    let mut made = Vec::new();
    made.try_reserve_exact(count).map_err(|_| {
        let bytes = (count as u64).saturating_mul(size_of::<T>() as u64);
        PackingError::OutOfMemory {
            what,
            bytes,
            advice,
        }
    })?;
    made.resize(count, fill);
    Ok(made)
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
