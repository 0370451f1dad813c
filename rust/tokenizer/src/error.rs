//! Everything that can go wrong, with the values.

use crate::pattern::Pattern;
use std::path::PathBuf;

/// Why a tokenizer call failed. Each message says what happened, the values, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A pattern name nobody knows.
    #[error("unknown pattern {name:?}; choose one of {}", Pattern::NAMES.join(", "))]
    UnknownPattern {
        /// The name as it was given.
        name: String,
    },
    /// A regular expression that is malformed, or whose meaning elsewhere differs.
    #[error("the pattern {pattern:?} cannot be used: {problem}")]
    BadPattern {
        /// The expression as it was given.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A text that takes a regular expression with look-around over its limit of steps.
    #[error(
        "the pattern {pattern:?} took more than {limit} steps at byte {offset} of a text; write it without look-around, or split the text"
    )]
    PatternSteps {
        /// The expression.
        pattern: String,
        /// Byte of the text (of the segment between added tokens) at which the search began.
        offset: usize,
        /// The limit.
        limit: usize,
    },
    /// A vocabulary that cannot hold the bytes and the special tokens.
    #[error(
        "vocab_size {vocab_size} is too small: {special} special tokens and 256 bytes need at least {}; raise vocab_size",
        special + 256
    )]
    VocabularyTooSmall {
        /// The size asked for.
        vocab_size: usize,
        /// How many special tokens were asked for.
        special: usize,
    },
    /// A special token that plain text needs, or that is given twice or empty.
    #[error("special token {content:?} {problem}; choose another text for it")]
    BadSpecialToken {
        /// Its text.
        content: String,
        /// What is wrong with it, as the rest of the sentence.
        problem: &'static str,
    },
    /// A name that is no special token of this vocabulary.
    #[error(
        "{content:?} is not a special token here; this vocabulary has {}",
        shown(known)
    )]
    UnknownSpecialToken {
        /// The text as it was given.
        content: String,
        /// The special tokens there are.
        known: Vec<String>,
    },
    /// An id outside the vocabulary, or one of its gaps.
    #[error(
        "token id {id} is not in this vocabulary of {vocab_size} ids; was it made by another tokenizer?"
    )]
    UnknownToken {
        /// The id as it was given.
        id: u64,
        /// One more than the largest id.
        vocab_size: usize,
    },
    /// Bounds of a document that are not bounds.
    #[error(
        "a document from {start} to {end} does not lie in {ids} ids; offsets must rise from 0 to the number of ids"
    )]
    BadOffsets {
        /// Where it begins.
        start: u64,
        /// Where it ends.
        end: u64,
        /// Ids there are.
        ids: usize,
    },
    /// A tokenizer file that is malformed, or asks for what this engine does not cover.
    #[error("{origin}: at {path}: {problem}")]
    Format {
        /// Which of the two.
        fault: Fault,
        /// The file, or a word for where the bytes came from.
        origin: String,
        /// JSON path (`$.model.vocab`) or line (`line 12`).
        path: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The operating system refused to read or write.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// The verb: read, write, list.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file that should be text is not UTF-8.
    #[error(
        "{} is not UTF-8 at byte {offset}; convert the file, or read it with errors=\"replace\"",
        path.display()
    )]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// First byte that is not UTF-8.
        offset: usize,
    },
    /// Somebody raised the call's [`crate::Stop`].
    #[error("the call was interrupted before its end; nothing came of it")]
    Interrupted,
    /// A corpus that cannot be trained on.
    #[error(
        "cannot train on {documents} documents with {bytes} bytes of distinct pieces: {problem}"
    )]
    Corpus {
        /// Documents counted.
        documents: u64,
        /// Bytes of all distinct pieces.
        bytes: u64,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// A corpus with more distinct pieces than memory was granted for.
    #[error(
        "{pieces} distinct pieces take {bytes} bytes, more than memory_limit {limit}; raise it, or train on a sample"
    )]
    MemoryLimit {
        /// Distinct pieces so far.
        pieces: u64,
        /// Memory they take.
        bytes: u64,
        /// Memory granted.
        limit: u64,
    },
    /// Training was told not to go on.
    #[error("training was interrupted after {done} of {total}; there is no tokenizer")]
    TrainingInterrupted {
        /// Units done in the phase at work.
        done: u64,
        /// Units there are at most; 0 where that is not known.
        total: u64,
    },
}

/// The first of a list of names, and how many more there are: Llama 3 has 256 special tokens.
fn shown(names: &[String]) -> String {
    const MOST: usize = 8;
    let first = format!("{:?}", &names[..names.len().min(MOST)]);
    match names.len().checked_sub(MOST) {
        None | Some(0) => first,
        Some(more) => format!("{first} and {more} more"),
    }
}

/// What is wrong with a tokenizer file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is no such file, or contradicts itself.
    Malformed,
    /// It asks for what this engine does not do, and another may.
    Unsupported,
}

impl TokenizerError {
    /// A malformed file's error at a JSON path, its file named later by [`TokenizerError::of_origin`].
    pub(crate) fn format(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::of_fault(Fault::Malformed, path, problem)
    }

    /// The error of a file that asks for what is not covered.
    pub(crate) fn unsupported(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::of_fault(Fault::Unsupported, path, problem)
    }

    fn of_fault(fault: Fault, path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Format {
            fault,
            origin: String::from("tokenizer"),
            path: path.into(),
            problem: problem.into(),
        }
    }

    /// The same error, naming the file it is about.
    pub(crate) fn of_origin(self, file: &std::path::Path) -> Self {
        match self {
            Self::Format {
                fault,
                path,
                problem,
                ..
            } => Self::Format {
                fault,
                origin: file.display().to_string(),
                path,
                problem,
            },
            other => other,
        }
    }
}

/// Shorthand of this crate.
pub type Result<T> = std::result::Result<T, TokenizerError>;
