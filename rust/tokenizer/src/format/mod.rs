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
use crate::memory::Zeroed;
use std::fs::File;
use std::io::Read;
use std::ops::Deref;
use std::path::Path;

pub(crate) use read::keep_last;

/// Largest file that is read.
pub const MAX_FILE_BYTES: u64 = 128 << 20;

/// The bytes of a tokenizer file, refused by its size before it is read. They lie in memory of their own, which goes back to
/// the system with them: tables that are made of them come to lie elsewhere.
pub(crate) fn read_file(path: &Path) -> Result<impl Deref<Target = [u8]>> {
    let io = |source| TokenizerError::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(io)?;
    let found = file.metadata().map_err(io)?;
    let size = found.len();
    if size > MAX_FILE_BYTES {
        let problem = format!(
            "the file has {size} bytes, more than the limit of {MAX_FILE_BYTES}; is it a tokenizer?"
        );
        return Err(TokenizerError::format("$", problem).of_origin(path));
    }
    if !found.is_file() {
        // A pipe says nothing of its size.
        let mut all = Vec::new();
        file.read_to_end(&mut all).map_err(io)?;
        let mut bytes = Zeroed::of(all.len());
        bytes.copy_from_slice(&all);
        return Ok(bytes);
    }
    let mut bytes = Zeroed::of(size as usize);
    file.read_exact(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// The error of a malformed file, at a place of it.
fn wrong<T>(path: impl Into<String>, problem: impl Into<String>) -> Result<T> {
    Err(TokenizerError::format(path, problem))
}

/// The error of a file that asks for what is not covered, at the place where it does.
fn unsupported<T>(path: impl Into<String>, problem: impl Into<String>) -> Result<T> {
    Err(TokenizerError::unsupported(path, problem))
}
