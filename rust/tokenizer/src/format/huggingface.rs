//! `tokenizer.json` of byte-level BPE. Unsupported features are refused by name.

pub use super::write::{write, write_encoding};

use super::fields::File;
use super::file::read_file;
use super::{fast_path, kind};
use crate::error::{Result, TokenizerError};
use crate::model::Model;
use std::path::Path;

/// Reads a `tokenizer.json` from disk. The file's memory is freed before any table is built.
///
/// # Errors
/// [`TokenizerError::Io`]; [`TokenizerError::Format`] as [`parse`].
pub fn read_model(path: &Path) -> Result<Model> {
    parse(&read_file(path)?)
}

/// A `tokenizer.json` as data.
///
/// # Errors
/// [`TokenizerError::Format`] with the JSON path of what is malformed or not supported.
pub fn parse(json: &[u8]) -> Result<Model> {
    // Validated once for the whole file, instead of for each string.
    let text = std::str::from_utf8(json).map_err(|error| {
        TokenizerError::format(
            "$",
            format!("it is not UTF-8 at byte {}", error.valid_up_to()),
        )
    })?;
    match fast_path::read(text) {
        Some(file) => file,
        None => read_any(text)?,
    }
    .into_model()
}

/// The fields of a file in any form.
pub(super) fn read_any(text: &str) -> Result<File<'_>> {
    // Tracking the path doubles the time, so it is done only for files that turn out to be malformed.
    serde_json::from_str(text).map_err(|error| match kind::of_model(text) {
        Some(kind) if kind != "BPE" => kind::unsupported_kind(&kind),
        _ => locate(text, &error),
    })
}

/// The error of a malformed file, with its JSON path.
fn locate(json: &str, known: &serde_json::Error) -> TokenizerError {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    match serde_path_to_error::deserialize::<_, File<'_>>(&mut deserializer) {
        Err(error) if error.path().to_string() != "." => {
            TokenizerError::format(format!("$.{}", error.path()), error.inner().to_string())
        }
        _ => TokenizerError::format("$", known.to_string()),
    }
}
