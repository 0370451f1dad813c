//! Writing and reading token shards.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyString};
use stategpt_packing as packing;
use stategpt_packing::Provenance;
use stategpt_pipeline::TextWriter;
use stategpt_pipeline::shards::{ShardingError, gaps, missing, vocabulary};

use super::errors::error;
use crate::errors::typed;
use crate::lines::Texts;
use crate::tokenizer::{Tokenizer, mode};
use crate::waiting::cancellable;

fn sharding_error(failure: ShardingError) -> PyErr {
    match failure {
        ShardingError::Packing(failure) => error(failure),
        ShardingError::Tokenizer(failure) => crate::tokenizer::error(failure),
        ShardingError::NotUtf8 { .. } | ShardingError::TooLarge { .. } => {
            typed("CorpusError", failure.to_string())
        }
        ShardingError::EndIsText { .. }
        | ShardingError::NoTokenizer
        | ShardingError::Offsets { .. } => typed("InvalidArgument", failure.to_string()),
    }
}

/// A document's text, held without copying.
enum Text {
    Str(PyBackedStr),
    Bytes(PyBackedBytes),
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Str(text) => text.as_bytes(),
            Self::Bytes(text) => text,
        }
    }
}

impl Text {
    fn of(number: u64, text: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = text.cast::<PyBytes>() {
            return Ok(Self::Bytes(bytes.clone().into()));
        }
        let not_text = |reason: PyErr| {
            typed(
                "CorpusError",
                format!(
                    "document {number} is not Unicode text ({reason}). Leave it out, or pass errors=\"replace\"."
                ),
            )
        };
        PyBackedStr::try_from(text.cast::<PyString>()?.clone())
            .map(Self::Str)
            .map_err(not_text)
    }
}

/// A data set that is being written; `None` once it is published, abandoned or has failed.
#[pyclass(frozen, module = "stategpt._native")]
pub struct ShardWriter(Mutex<Option<TextWriter>>);

impl ShardWriter {
    /// Runs `work` on the writer without the GIL; a writer that has failed is dropped, and its folder with it.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut TextWriter) -> Result<T, ShardingError> + Send,
    ) -> PyResult<T> {
        py.detach(|| {
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let result = work(held.as_mut().ok_or(None)?);
            if result.is_err() {
                *held = None;
            }
            result.map_err(Some)
        })
        .map_err(|failure| failure.map_or_else(Self::gone, sharding_error))
    }

    fn gone() -> PyErr {
        typed(
            "InvalidArgument",
            "these shards were published or abandoned; start a new writer".to_string(),
        )
    }
}

#[pymethods]
impl ShardWriter {
    #[new]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        target: PathBuf,
        tokenizer: &Tokenizer,
        end_of_text: &str,
        padding: Option<&str>,
        max_tokens: u64,
        special: &str,
        threads: Option<usize>,
    ) -> PyResult<Self> {
        let special = mode(special)?;
        let made = py.detach(|| {
            let vocabulary = vocabulary(&tokenizer.0, end_of_text, padding)?;
            let writer = packing::ShardWriter::create(&target, vocabulary, max_tokens)?;
            let writer = writer.with_gaps(&gaps(&tokenizer.0));
            let tokenizer = Arc::clone(&tokenizer.0);
            Ok(TextWriter::new(writer, tokenizer, special, threads))
        });
        made.map(|writer| Self(Mutex::new(Some(writer))))
            .map_err(sharding_error)
    }

    #[staticmethod]
    fn of_ids(
        py: Python<'_>,
        target: PathBuf,
        fingerprint: String,
        known_ids: PyReadonlyArray1<'_, u32>,
        end_of_text: u32,
        padding: u32,
        max_tokens: u64,
    ) -> PyResult<Self> {
        let known = known_ids.as_slice()?;
        let made = py.detach(|| {
            let vocabulary = packing::Vocabulary {
                fingerprint,
                size: known.iter().max().map_or(0, |most| most.saturating_add(1)),
                end_of_text,
                padding,
            };
            let writer = packing::ShardWriter::create(&target, vocabulary, max_tokens)?;
            let writer = writer.with_gaps(&missing(known.to_vec()));
            Ok(TextWriter::of_ids(writer))
        });
        made.map(|writer| Self(Mutex::new(Some(writer))))
            .map_err(sharding_error)
    }

    fn push_encoded(
        &self,
        py: Python<'_>,
        ids: PyReadonlyArray1<'_, u32>,
        offsets: PyReadonlyArray1<'_, u64>,
    ) -> PyResult<()> {
        let (ids, offsets) = (ids.as_slice()?, offsets.as_slice()?);
        self.with(py, |writer| writer.push_encoded(ids, offsets))
    }

    fn push_texts(&self, py: Python<'_>, texts: Vec<Bound<'_, PyAny>>) -> PyResult<()> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = held.as_ref().map_or(0, TextWriter::documents);
        drop(held);
        let numbered = (first..).zip(&texts);
        let texts = numbered
            .map(|(number, text)| Text::of(number, text))
            .collect::<PyResult<Vec<_>>>()?;
        self.with(py, |writer| writer.push_texts(&texts))
    }

    fn push_gathered(&self, py: Python<'_>, texts: &Texts) -> PyResult<()> {
        self.with(py, |writer| {
            let mut texts = texts.held();
            writer.push_gathered(&texts)?;
            texts.clear();
            Ok(())
        })
    }

    #[getter]
    fn documents(&self) -> u64 {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map_or(0, TextWriter::documents)
    }

    fn push_ids(
        &self,
        py: Python<'_>,
        ids: PyReadonlyArray1<'_, u32>,
        mask: Option<PyReadonlyArray1<'_, u8>>,
        doc_id: Option<u64>,
    ) -> PyResult<()> {
        let (ids, mask) = (
            ids.as_slice()?,
            mask.as_ref().map(|mask| mask.as_slice()).transpose()?,
        );
        self.with(py, |writer| {
            writer.push_ids(packing::DocumentRef { ids, mask, doc_id })
        })
    }

    fn publish(
        &self,
        py: Python<'_>,
        source: String,
        license: String,
        parents: Vec<String>,
    ) -> PyResult<String> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = taken.ok_or_else(Self::gone)?;
        let provenance = Provenance {
            source,
            license,
            parents,
        };
        cancellable(
            py,
            |flag| writer.publish_while(provenance, &|| !flag.is_raised()),
            sharding_error,
        )
        .map(|manifest| manifest.to_json())
    }

    fn abandon(&self, py: Python<'_>) {
        py.detach(|| drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take()));
    }
}

/// A published data set of token shards.
#[pyclass(frozen, module = "stategpt._native")]
pub struct TokenShards(pub Arc<packing::Dataset>);

#[pymethods]
impl TokenShards {
    #[staticmethod]
    fn open(
        py: Python<'_>,
        folder: PathBuf,
        tokenizer_fingerprint: Option<&str>,
    ) -> PyResult<Self> {
        py.detach(|| {
            let dataset = packing::Dataset::open(&folder)?;
            tokenizer_fingerprint
                .map_or(Ok(()), |fingerprint| dataset.expect_tokenizer(fingerprint))?;
            Ok(Self(Arc::new(dataset)))
        })
        .map_err(error)
    }

    fn verify(&self, py: Python<'_>) -> PyResult<()> {
        cancellable(py, |flag| self.0.verify_while(&|| !flag.is_raised()), error)
    }

    fn manifest(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.manifest().to_json())
    }

    fn document<'py>(&self, py: Python<'py>, number: u64) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let ids = py.detach(|| self.0.document(number)).map_err(error)?;
        Ok(ids.into_pyarray(py))
    }

    fn loss_mask<'py>(&self, py: Python<'py>, number: u64) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let mask = py.detach(|| self.0.document_mask(number)).map_err(error)?;
        Ok(mask.into_pyarray(py))
    }

    fn doc_id(&self, py: Python<'_>, number: u64) -> PyResult<u64> {
        py.detach(|| self.0.span(number).and_then(|span| self.0.doc_id(&span)))
            .map_err(error)
    }
}
