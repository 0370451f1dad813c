//! One document of a data set, read whole.

use super::reader::Dataset;
use crate::error::{PackingError, filled};

const ADVICE: &str = "read its rows instead";

impl Dataset {
    /// The ids of a document, without its end of text.
    ///
    /// # Errors
    /// No such document; the file is damaged; the ids do not fit in memory.
    pub fn document(&self, number: u64) -> Result<Vec<u32>, PackingError> {
        let span = self.span(number)?;
        let mut ids = filled(0, span.tokens as usize, "a document's tokens", ADVICE)?;
        self.read_tokens(&span, 0, &mut ids, &mut Vec::new())?;
        Ok(ids)
    }

    /// Which targets of a document are trained: its tokens and its end of text.
    ///
    /// # Errors
    /// As [`Dataset::document`].
    pub fn document_mask(&self, number: u64) -> Result<Vec<bool>, PackingError> {
        let span = self.span(number)?;
        let mut mask = filled(
            false,
            span.tokens as usize + 1,
            "a document's tokens",
            ADVICE,
        )?;
        self.read_mask(&span, 0, &mut mask, &mut Vec::new())?;
        Ok(mask)
    }
}
