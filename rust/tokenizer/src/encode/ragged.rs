//! Many documents in one flat array.

use crate::error::Result;
use crate::memory::reserve;

/// Documents of different lengths, end to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ragged {
    /// Ids of all documents.
    pub ids: Vec<u32>,
    /// Where each document begins, followed by the number of ids.
    pub offsets: Vec<u64>,
}

impl Default for Ragged {
    /// No document.
    fn default() -> Self {
        Self {
            ids: Vec::new(),
            offsets: vec![0],
        }
    }
}

impl Ragged {
    /// Reserves memory for about `bytes` bytes of text in `documents` documents; unused memory is not touched.
    ///
    /// # Errors
    /// [`crate::TokenizerError::OutOfMemory`] if the system grants none.
    pub fn with_capacity(bytes: usize, documents: usize) -> Result<Self> {
        let mut ragged = Self::default();
        reserve(&mut ragged.ids, bytes / 3 + documents, "ids")?;
        reserve(&mut ragged.offsets, documents, "offsets")?;
        Ok(ragged)
    }

    /// Ends documents of `counts` ids each; if it `continues`, the first of them is part of the last document.
    pub fn end_documents(&mut self, counts: &[u64], continues: bool) -> Result<()> {
        reserve(&mut self.offsets, counts.len(), "offsets")?;
        let mut end = self.offsets.last().copied().unwrap_or_default();
        if continues {
            self.offsets.pop();
        }
        self.offsets.extend(counts.iter().map(|count| {
            end += count;
            end
        }));
        Ok(())
    }
}
