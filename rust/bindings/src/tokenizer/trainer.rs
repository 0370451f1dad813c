//! Training from Python.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use stategpt_tokenizer as tokenizer;
use stategpt_tokenizer::{Cutter, Documents, Target};

use super::{Tokenizer, error, held};

/// Counts documents, then makes a tokenizer of them.
#[pyclass(frozen, module = "stategpt._native")]
pub struct BpeTrainer(Mutex<tokenizer::Trainer>);

#[pymethods]
impl BpeTrainer {
    #[new]
    fn new(pattern: &str, lines: bool, threads: Option<usize>) -> PyResult<Self> {
        let rule = if lines {
            Documents::Lines
        } else {
            Documents::Whole
        };
        let cutter = Cutter::of(pattern).map_err(error)?;
        Ok(Self(Mutex::new(tokenizer::Trainer::new(
            cutter, rule, threads,
        ))))
    }

    fn feed(&self, py: Python<'_>, documents: &Bound<'_, PyAny>) -> PyResult<()> {
        let documents = held(documents)?;
        py.detach(|| {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .feed(&documents)
        })
        .map_err(error)
    }

    fn feed_file(&self, py: Python<'_>, path: PathBuf, replace: bool) -> PyResult<()> {
        py.detach(|| {
            let text = tokenizer::read_text(&path, replace)?;
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .feed(&[text])
        })
        .map_err(error)
    }

    fn train(
        &self,
        py: Python<'_>,
        vocab_size: usize,
        special_tokens: Vec<String>,
        min_frequency: u64,
    ) -> PyResult<Tokenizer> {
        let target = Target {
            vocab_size,
            special_tokens,
            min_frequency,
        };
        Tokenizer::new(py.detach(|| {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .train(&target)
        }))
    }
}
