//! Reads a tokenizer file, of limited size.

use crate::error::{Result, TokenizerError};
use crate::memory::Zeroed;
use stategpt_storage::open_regular;
use std::io::Read;
use std::ops::Deref;
use std::path::Path;

/// Largest file that is read.
pub const MAX_FILE_BYTES: u64 = 128 << 20;

/// The bytes of a tokenizer file, refused by its size before it is read. They lie in memory of their own, which goes back to
/// the system with them: tables that are made of them come to lie elsewhere.
pub fn read_file(path: &Path) -> Result<impl Deref<Target = [u8]>> {
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
