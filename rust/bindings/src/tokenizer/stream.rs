//! Streaming decode from Python.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use stategpt_tokenizer as tokenizer;

use super::engine::Tokenizer;
use super::errors::error;
use super::ids::id_of;

/// Decodes id by id. Threads that share one take turns.
#[pyclass(frozen, subclass, module = "stategpt._native")]
pub struct StreamDecoder {
    tokenizer: Py<Tokenizer>,
    state: Mutex<tokenizer::StreamDecoder>,
}

#[pymethods]
impl StreamDecoder {
    #[new]
    fn new(tokenizer: Py<Tokenizer>) -> Self {
        Self {
            tokenizer,
            state: Mutex::default(),
        }
    }

    /// The text that this id completes. O(bytes of the token).
    ///
    /// Raises:
    ///     UnknownToken: an id outside the vocabulary; the decoder is as before.
    fn push(&self, id: &Bound<'_, PyAny>) -> PyResult<String> {
        let tokenizer = self.tokenizer.get();
        let id = id_of(id, tokenizer.0.vocab_size())?;
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(&tokenizer.0, id)
            .map_err(error)
    }

    /// Ends the text: U+FFFD if it stops within a character, else nothing. The decoder is then as new.
    fn finish(&self) -> String {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .finish()
    }
}
