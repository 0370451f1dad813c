//! Errors of the tokenizer, with the values.

use std::path::PathBuf;

/// The reason a tokenizer call failed. Each message says what happened, the values, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The pattern name is unknown.
    #[error("unknown pattern {}; choose one of {known}", short(name))]
    UnknownPattern {
        /// The name as it was given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The regular expression is malformed, or means something else in other engines.
    #[error("the pattern {} cannot be used: {problem}", short(pattern))]
    BadPattern {
        /// The expression as it was given.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The text takes a regular expression over its limit of steps, which grows with the text.
    #[error(
        "the pattern {pattern} took more than {limit} steps, the last at byte {offset} of a text; write it so that no part of the text is matched many times, or split the text"
    )]
    PatternSteps {
        /// The expression.
        pattern: String,
        /// Byte of the text (of the segment between added tokens) at which the search began.
        offset: usize,
        /// The limit, for all searches in the text.
        limit: u64,
    },
    /// The vocabulary would be larger than what can be loaded again.
    #[error("{what} is {number}, more than the limit of {limit}; lower it")]
    TooMany {
        /// The quantity that is too large.
        what: &'static str,
        /// Its value.
        number: usize,
        /// The maximum.
        limit: usize,
    },
    /// The system grants no memory.
    #[error("out of memory: {bytes} bytes of {what}; encode or decode less at a time")]
    OutOfMemory {
        /// The use of the memory.
        what: &'static str,
        /// The number of bytes requested.
        bytes: u64,
    },
    /// The vocabulary is too small for the bytes and the special tokens.
    #[error(
        "vocab_size {vocab_size} is too small: {special} special tokens and 256 bytes need at least {}; raise vocab_size",
        special + 256
    )]
    VocabularyTooSmall {
        /// The requested size.
        vocab_size: usize,
        /// The number of special tokens.
        special: usize,
    },
    /// The special token is one that plain text needs, or it is given twice or empty.
    #[error(
        "special token {} {problem}; choose another text for it",
        short(content)
    )]
    BadSpecialToken {
        /// Its text.
        content: String,
        /// What is wrong with it, as the rest of the sentence.
        problem: &'static str,
    },
    /// The name is not a special token of this vocabulary.
    #[error(
        "{} is not a special token here; this vocabulary has {known}",
        short(content)
    )]
    UnknownSpecialToken {
        /// The text as it was given.
        content: String,
        /// The special tokens that exist: a few, and the number of the others.
        known: String,
    },
    /// The id is outside the vocabulary, or in one of its gaps.
    #[error(
        "token id {id} is not in this vocabulary of {vocab_size} ids; was it made by another tokenizer?"
    )]
    UnknownToken {
        /// The id as it was given.
        id: u64,
        /// One more than the largest id.
        vocab_size: usize,
    },
    /// The bounds of a document are invalid.
    #[error(
        "a document from {start} to {end} is outside of {ids} ids; offsets must increase from 0 to the number of ids"
    )]
    BadOffsets {
        /// Its first id.
        start: u64,
        /// The end of its ids.
        end: u64,
        /// The number of ids.
        ids: usize,
    },
    /// The tokenizer file is malformed, or needs a feature that is not supported.
    #[error("{origin}: at {path}: {problem}")]
    Format {
        /// Which of the two.
        fault: Fault,
        /// The file, or a word for the source of the bytes.
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
    /// The call's [`crate::CancelFlag`] was raised.
    #[error("the call was interrupted; it has no result")]
    Interrupted,
    /// The corpus cannot be trained on.
    #[error(
        "cannot train on {documents} documents with {bytes} bytes of distinct pre-tokens: {problem}"
    )]
    Corpus {
        /// Documents counted.
        documents: u64,
        /// Bytes of all distinct pre-tokens.
        bytes: u64,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// The corpus has more distinct pre-tokens than fit into the memory limit.
    #[error(
        "{pre_tokens} distinct pre-tokens take {bytes} bytes, more than memory_limit {limit}; raise it, or train on a sample"
    )]
    MemoryLimit {
        /// The number of distinct pre-tokens so far.
        pre_tokens: u64,
        /// The memory they take.
        bytes: u64,
        /// The memory limit.
        limit: u64,
    },
    /// The caller interrupted training.
    #[error("training was interrupted after {done} of {total}; it has no tokenizer")]
    TrainingInterrupted {
        /// Units done in the current phase.
        done: u64,
        /// The maximum number of units; 0 if it is unknown.
        total: u64,
    },
}

/// What is wrong with a tokenizer file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not a tokenizer file, or contradicts itself.
    Malformed,
    /// It needs a feature that is not supported here, and may be elsewhere.
    Unsupported,
}

/// The maximum number of characters of a given text that a message shows.
const SHOWN: usize = 120;
/// The maximum number of names that a message lists.
const LISTED: usize = 8;

/// A text in quotation marks; the middle of a long text is left out.
pub(crate) fn short(text: &str) -> String {
    let length = text.chars().count();
    if length <= SHOWN {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(SHOWN / 2).collect();
    let end: String = text.chars().skip(length - SHOWN / 4).collect();
    format!("{start:?} ... {end:?} ({length} characters)")
}

/// A few names, and the number of the others.
pub(crate) fn listed<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let count = names.len();
    if count == 0 {
        return String::from("none");
    }
    let shown: Vec<String> = names.take(LISTED).map(short).collect();
    let shown = shown.join(", ");
    match count.checked_sub(LISTED) {
        Some(others @ 1..) => format!("{shown} and {others} more"),
        _ => shown,
    }
}

impl TokenizerError {
    /// The error of a special token.
    pub(crate) fn bad_special(content: &str, problem: &'static str) -> Self {
        Self::BadSpecialToken {
            content: content.to_owned(),
            problem,
        }
    }

    /// The error of a malformed file at a JSON path; [`TokenizerError::of_origin`] adds the file's name.
    pub(crate) fn format(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::of_fault(Fault::Malformed, path, problem)
    }

    /// The error of a file that needs an unsupported feature.
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

    /// The same error, its offset counted from `base` bytes earlier.
    pub(crate) fn at_offset(self, base: usize) -> Self {
        match self {
            Self::PatternSteps {
                pattern,
                offset,
                limit,
            } => Self::PatternSteps {
                pattern,
                offset: offset + base,
                limit,
            },
            other => other,
        }
    }

    /// The same error with the name of the file.
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

/// The result type of this crate.
pub type Result<T> = std::result::Result<T, TokenizerError>;

/// The error of a file that needs an unsupported feature, at the place where it does.
pub(crate) fn unsupported<T>(path: impl Into<String>, problem: impl Into<String>) -> Result<T> {
    Err(TokenizerError::unsupported(path, problem))
}
