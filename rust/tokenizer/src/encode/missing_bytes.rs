//! Vocabularies in which some bytes have no token: such a byte is left out of its pre-token, or becomes the unknown token,
//! before the pre-token is merged, as in the `tokenizers` library.

use crate::model::{Model, NO_TOKEN, Unknown};

/// The bytes that have no token.
pub struct MissingBytes {
    missing: [bool; 256],
    /// How they are encoded.
    pub unknown: Unknown,
}

impl MissingBytes {
    /// The missing bytes of a model; `None` if each byte has a token.
    pub fn of(model: &Model, bytes: &[u32; 256]) -> Option<Self> {
        let missing = bytes.map(|id| id == NO_TOKEN);
        missing.contains(&true).then_some(Self {
            missing,
            unknown: model.unknown,
        })
    }

    /// Whether `text` contains one.
    pub fn any(&self, text: &[u8]) -> bool {
        text.iter().any(|&byte| self.has(byte))
    }

    /// Whether `byte` is one.
    pub fn has(&self, byte: u8) -> bool {
        self.missing[usize::from(byte)]
    }
}
