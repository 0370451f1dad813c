//! File formats: `tokenizer.json` of the `tokenizers` library, and tiktoken's rank files.

mod bpe;
mod cursor;
mod fields;
pub mod huggingface;
mod pre_tokenizer;
mod quick;
mod read;
pub mod tiktoken;
mod vocabulary;
mod write;

use crate::error::{Result, TokenizerError};
use std::path::Path;

pub(crate) use read::keep_last;

/// Largest file that is read.
pub const MAX_FILE_BYTES: u64 = 128 << 20;

/// The bytes of a tokenizer file, refused by its size before it is read.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>> {
    let io = |source| TokenizerError::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    };
    let size = std::fs::metadata(path).map_err(io)?.len();
    if size > MAX_FILE_BYTES {
        let problem = format!(
            "the file has {size} bytes, more than the limit of {MAX_FILE_BYTES}; is it a tokenizer?"
        );
        return Err(TokenizerError::format("$", problem).of_origin(path));
    }
    std::fs::read(path).map_err(io)
}

/// The error of a malformed file, at a place of it.
fn wrong<T>(path: impl Into<String>, problem: impl Into<String>) -> Result<T> {
    Err(TokenizerError::format(path, problem))
}

/// The error of a file that asks for what is not covered, at the place where it does.
fn unsupported<T>(path: impl Into<String>, problem: impl Into<String>) -> Result<T> {
    Err(TokenizerError::unsupported(path, problem))
}
