//! Training from Python.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use stategpt_tokenizer as tokenizer;
use stategpt_tokenizer::{Documents, Phase, PreTokenizer, Progress, Target, Watch};

use super::engine::Tokenizer;
use super::errors::error;
use super::text::{content, held};
use crate::errors::typed;

/// Counts documents, then trains a tokenizer on them, once.
#[pyclass(frozen, module = "stategpt._native")]
pub struct BpeTrainer(Mutex<Option<tokenizer::Trainer>>);

impl BpeTrainer {
    fn with<T>(
        &self,
        work: impl FnOnce(&mut tokenizer::Trainer) -> tokenizer::Result<T>,
    ) -> PyResult<T> {
        let mut trainer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let trainer = trainer.as_mut().ok_or_else(used_up)?;
        work(trainer).map_err(error)
    }
}

fn used_up() -> PyErr {
    let message = "this trainer has made its tokenizer; make another trainer";
    typed("InvalidArgument", message.to_owned())
}

/// Runs `work` with a watch that checks for signals and calls `progress(phase, done, total)`; an exception of either ends it.
fn watched<T>(
    progress: Option<&Py<PyAny>>,
    work: impl FnOnce(&mut Watch<'_>) -> PyResult<T>,
) -> PyResult<T> {
    let mut raised = None;
    let tell = |py: Python<'_>, Progress { phase, done, total }: Progress| {
        py.check_signals()?;
        let phase = match phase {
            Phase::Counting => "counting",
            Phase::Merging => "merging",
        };
        match progress {
            Some(progress) => progress.call1(py, (phase, done, total)).map(drop),
            None => Ok(()),
        }
    };
    let mut look = |progress| match Python::attach(|py| tell(py, progress)) {
        Ok(()) => true,
        Err(error) => {
            raised = Some(error);
            false
        }
    };
    let result = work(&mut Watch::new(&mut look));
    raised.map_or(result, Err)
}

#[pymethods]
impl BpeTrainer {
    #[new]
    fn new(
        pattern: &str,
        lines: bool,
        threads: Option<usize>,
        memory_limit: Option<u64>,
        expected_bytes: u64,
    ) -> PyResult<Self> {
        let rule = if lines {
            Documents::Lines
        } else {
            Documents::Whole
        };
        let pre_tokenizer = PreTokenizer::of(pattern).map_err(error)?;
        let mut trainer =
            tokenizer::Trainer::new(pre_tokenizer, rule, threads).with_memory_limit(memory_limit);
        trainer.expect_bytes(expected_bytes);
        Ok(Self(Mutex::new(Some(trainer))))
    }

    fn feed(&self, py: Python<'_>, documents: &Bound<'_, PyAny>) -> PyResult<u64> {
        let documents = held(documents)?;
        py.detach(|| {
            self.with(|trainer| {
                trainer.feed(&documents)?;
                Ok(trainer.counted_bytes())
            })
        })
    }

    fn feed_file(
        &self,
        py: Python<'_>,
        path: PathBuf,
        replace: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        py.detach(|| {
            watched(progress.as_ref(), |watch| {
                self.with(|trainer| trainer.feed_file(&path, replace, watch))
            })
        })
    }

    fn feed_counts(&self, py: Python<'_>, counts: Vec<(PyBackedBytes, u64)>) -> PyResult<()> {
        py.detach(|| self.with(|trainer| trainer.feed_counts(&counts)))
    }

    fn train(
        &self,
        py: Python<'_>,
        vocab_size: usize,
        special_tokens: Vec<Bound<'_, PyAny>>,
        min_frequency: u64,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Tokenizer> {
        let special_tokens = special_tokens.iter().map(content);
        let target = Target {
            vocab_size,
            special_tokens: special_tokens.collect::<PyResult<Vec<String>>>()?,
            min_frequency,
        };
        let made = py.detach(|| {
            let mut trainer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let trainer = trainer.take().ok_or_else(used_up)?;
            watched(progress.as_ref(), |watch| {
                trainer.train_watched(&target, watch).map_err(error)
            })
        })?;
        Ok(Tokenizer(Arc::new(made)))
    }
}
