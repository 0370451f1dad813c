//! Reads a tokenizer file of limited size.

use crate::error::{Result, TokenizerError};
use crate::memory::Zeroed;
use stategpt_storage::open_regular;
use std::io::Read;
use std::ops::Deref;
use std::path::Path;

/// The maximum size of a file.
pub const MAX_FILE_BYTES: u64 = 128 << 20;

/// The bytes of a tokenizer file; its size is checked before it is read. They are in a separate memory mapping, which is returned
/// to the system when they are dropped and does not fragment the memory of the tables.
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
