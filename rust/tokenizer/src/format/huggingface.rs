//! `tokenizer.json`: byte-level BPE with one of our patterns and no normalizer. Anything else is refused by name.

pub use super::write::write;

use super::read::File;
use crate::error::{Result, TokenizerError};
use crate::model::Model;
use crate::tokenizer::Tokenizer;
use std::path::Path;

impl Tokenizer {
    /// Reads a `tokenizer.json` from disk.
    ///
    /// # Errors
    /// [`TokenizerError::Io`]; [`TokenizerError::Format`] as [`Tokenizer::from_json`].
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_json(&super::read_file(path)?).map_err(|error| error.of_origin(path))
    }

    /// Reads the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError::Format`] with the JSON path of what is malformed or not covered.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        Self::new(parse(json)?)
    }
}

/// A `tokenizer.json` as data.
///
/// # Errors
/// [`TokenizerError::Format`] with the JSON path of what is malformed or not covered.
pub fn parse(json: &[u8]) -> Result<Model> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let file: File = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." {
            String::from("$")
        } else {
            format!("$.{path}")
        };
        TokenizerError::format(path, error.inner().to_string())
    })?;
    deserializer
        .end()
        .map_err(|error| TokenizerError::format("$", error.to_string()))?;
    file.into_model()
}
