//! Everything that can go wrong, with the values.

use std::path::PathBuf;

/// Why a tokenizer call failed. Each message says what happened, the values, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A pattern name nobody knows.
    #[error("unknown pattern {}; choose one of {known}", short(name))]
    UnknownPattern {
        /// The name as it was given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A regular expression that is malformed, or whose meaning elsewhere differs.
    #[error("the pattern {} cannot be used: {problem}", short(pattern))]
    BadPattern {
        /// The expression as it was given.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A text that takes a regular expression over its limit of steps, which grows with the text.
    #[error(
        "the pattern {pattern} took more than {limit} steps, the last at byte {offset} of a text; write it so that each place is looked at a few times only, or split the text"
    )]
    PatternSteps {
        /// The expression.
        pattern: String,
        /// Byte of the text (of the segment between added tokens) at which the search began.
        offset: usize,
        /// The limit, for all searches in the text.
        limit: u64,
    },
    /// A vocabulary larger than any that is read again.
    #[error("{what} is {number}, more than the limit of {limit}; lower it")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much was asked for.
        number: usize,
        /// How much there may be.
        limit: usize,
    },
    /// Memory that the system does not grant.
    #[error("there is no memory for {bytes} bytes of {what}; encode or decode less at a time")]
    OutOfMemory {
        /// What it was for.
        what: &'static str,
        /// Bytes asked for.
        bytes: u64,
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
    /// A name that is no special token of this vocabulary.
    #[error(
        "{} is not a special token here; this vocabulary has {known}",
        short(content)
    )]
    UnknownSpecialToken {
        /// The text as it was given.
        content: String,
        /// The special tokens there are: a few, and the number of the others.
        known: String,
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
    /// Somebody raised the call's [`crate::CancelFlag`].
    #[error("the call was interrupted before its end; nothing came of it")]
    Interrupted,
    /// A corpus that cannot be trained on.
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
    /// A corpus with more distinct pre-tokens than memory was granted for.
    #[error(
        "{pre_tokens} distinct pre-tokens take {bytes} bytes, more than memory_limit {limit}; raise it, or train on a sample"
    )]
    MemoryLimit {
        /// Distinct pre-tokens so far.
        pre_tokens: u64,
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

/// What is wrong with a tokenizer file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is no such file, or contradicts itself.
    Malformed,
    /// It asks for what this engine does not do, and another may.
    Unsupported,
}

/// Characters of a text from outside that a message shows.
const SHOWN: usize = 120;
/// Names that a message lists.
const LISTED: usize = 8;

/// A text in quotation marks, its middle left out where it is long.
pub(crate) fn short(text: &str) -> String {
    let length = text.chars().count();
    if length <= SHOWN {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(SHOWN / 2).collect();
    let end: String = text.chars().skip(length - SHOWN / 4).collect();
    format!("{start:?} ... {end:?} ({length} characters)")
}

/// A few names, and how many others there are.
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

/// The error of a file that asks for what is not covered, at the place where it does.
pub(crate) fn unsupported<T>(path: impl Into<String>, problem: impl Into<String>) -> Result<T> {
    Err(TokenizerError::unsupported(path, problem))
}
