//! Maps failures of the tokenizer onto classes of `stategpt.errors`.

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use stategpt_tokenizer::{Fault, TokenizerError};

use crate::errors::typed;

/// The class of `stategpt.errors` for each kind of failure.
pub fn error(error: TokenizerError) -> PyErr {
    let class = match error {
        TokenizerError::UnknownPattern { .. }
        | TokenizerError::BadPattern { .. }
        | TokenizerError::TooMany { .. }
        | TokenizerError::VocabularyTooSmall { .. }
        | TokenizerError::BadSpecialToken { .. }
        | TokenizerError::UnknownSpecialToken { .. }
        | TokenizerError::BadOffsets { .. } => "InvalidArgument",
        // After a signal the caller gets what its handler raised; this is for calls that are cancelled otherwise.
        TokenizerError::Interrupted | TokenizerError::TrainingInterrupted { .. } => "StategptError",
        TokenizerError::OutOfMemory { .. } => return PyMemoryError::new_err(error.to_string()),
        TokenizerError::UnknownToken { .. } => "UnknownToken",
        TokenizerError::PatternSteps { .. } => "PatternLimit",
        TokenizerError::Format {
            fault: Fault::Malformed,
            ..
        } => "TokenizerFormatError",
        TokenizerError::Format {
            fault: Fault::Unsupported,
            ..
        } => "TokenizerUnsupported",
        TokenizerError::Io { .. } => "StorageError",
        TokenizerError::NotUtf8 { .. }
        | TokenizerError::Corpus { .. }
        | TokenizerError::MemoryLimit { .. } => "CorpusError",
    };
    typed(class, error.to_string())
}
