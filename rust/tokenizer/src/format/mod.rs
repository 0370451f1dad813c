//! File formats: `tokenizer.json` of the `tokenizers` library, and tiktoken's rank files.

mod added;
mod bpe;
mod cursor;
mod fields;
pub mod huggingface;
mod kind;
mod pre_tokenizer;
mod quick;
mod read;
pub mod tiktoken;
mod unknown;
mod vocabulary;
mod write;

use crate::error::{Result, TokenizerError};
use crate::memory::Zeroed;
use stategpt_storage::open_regular;
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
    let mut file = open_regular(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    if size > MAX_FILE_BYTES {
        let problem = format!(
            "the file has {size} bytes, more than the limit of {MAX_FILE_BYTES}; is it a tokenizer?"
        );
        return Err(TokenizerError::format("$", problem).of_origin(path));
    }
    let mut bytes = Zeroed::of(size as usize);
    file.read_exact(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// The error of a file that asks for what is not covered, at the place where it does.
fn unsupported<T>(path: impl Into<String>, problem: impl Into<String>) -> Result<T> {
    Err(TokenizerError::unsupported(path, problem))
}
