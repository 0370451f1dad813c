//! Reads files as documents.

use crate::error::{Result, TokenizerError};
use crate::memory::reserve;
use stategpt_storage::open_regular;
use std::io::Read;
use std::path::Path;

/// How files become documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// Each line is a document, instead of each file.
    pub lines: bool,
    /// Invalid UTF-8 becomes U+FFFD, instead of an error.
    pub replace: bool,
}

/// The bytes of a file as valid UTF-8.
///
/// # Errors
/// [`TokenizerError::Io`] if it cannot be read, [`TokenizerError::NotUtf8`] with the first bad byte unless `replace`.
pub fn read_text(path: &Path, replace: bool) -> Result<Vec<u8>> {
    let io = |source| TokenizerError::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    };
    let file = open_regular(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let mut bytes = Vec::new();
    reserve(
        &mut bytes,
        usize::try_from(size).unwrap_or(usize::MAX),
        "a file",
    )?;
    // At most the size at opening: another process may append to the file forever.
    file.take(size).read_to_end(&mut bytes).map_err(io)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.into_bytes()),
        Err(error) if replace => Ok(String::from_utf8_lossy(error.as_bytes())
            .into_owned()
            .into_bytes()),
        Err(error) => Err(TokenizerError::NotUtf8 {
            path: path.to_owned(),
            offset: error.utf8_error().valid_up_to(),
        }),
    }
}

/// The lines of a text, each with its `\n`.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&byte| byte == b'\n')
}
