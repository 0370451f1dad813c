//! Python face of `stategpt-packing` and of the pipeline's way from text to shards. The interpreter is let go wherever
//! files are touched or rows are written.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyString};
use stategpt_packing as packing;
use stategpt_packing::{PackingError, Provenance, Rows, Strategy};
use stategpt_pipeline::shards::{ShardingError, push_texts, vocabulary};

use crate::errors::typed;
use crate::tokenizer::Tokenizer;

/// The class of `stategpt.errors` for each kind of failure.
fn error(error: PackingError) -> PyErr {
    let class = match error {
        PackingError::Storage(error) => return crate::storage::error(error),
        PackingError::Corrupt { .. } => "CorruptArtifact",
        PackingError::Foreign { .. } => "ForeignArtifact",
        PackingError::UnknownToken { .. } => "UnknownToken",
        PackingError::BadDocument { .. }
        | PackingError::NoRows { .. }
        | PackingError::Exhausted { .. } => "DataError",
        PackingError::BadSetting { .. }
        | PackingError::NoSuchRow { .. }
        | PackingError::NoSuchDocument { .. } => "InvalidArgument",
    };
    typed(class, error.to_string())
}

fn sharding_error(error: ShardingError) -> PyErr {
    match error {
        ShardingError::Packing(error) => self::error(error),
        ShardingError::Tokenizer(error) => crate::tokenizer::error(error),
        ShardingError::NotUtf8 { .. } | ShardingError::TooLarge { .. } => {
            typed("CorpusError", error.to_string())
        }
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
    fn of(text: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = text.cast::<PyBytes>() {
            return Ok(Self::Bytes(bytes.clone().into()));
        }
        let not_text = |reason: PyErr| {
            typed(
                "CorpusError",
                format!("a document is not valid Unicode ({reason}); drop lone surrogates"),
            )
        };
        PyBackedStr::try_from(text.cast::<PyString>()?.clone())
            .map(Self::Str)
            .map_err(not_text)
    }
}

/// A data set that is being written; `None` once it is published, abandoned or has failed.
#[pyclass(frozen, module = "stategpt._native")]
struct ShardWriter(Mutex<Option<packing::ShardWriter>>);

impl ShardWriter {
    /// Runs `work` on the writer without the interpreter; a writer that has failed is dropped, and its folder with it.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut packing::ShardWriter) -> Result<T, ShardingError> + Send,
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
    fn new(
        py: Python<'_>,
        target: PathBuf,
        tokenizer: &Tokenizer,
        end_of_text: &str,
        padding: Option<&str>,
        max_tokens: u64,
    ) -> PyResult<Self> {
        let made = py.detach(|| {
            let vocabulary = vocabulary(&tokenizer.0, end_of_text, padding)?;
            Ok(packing::ShardWriter::create(
                &target, vocabulary, max_tokens,
            )?)
        });
        made.map(|writer| Self(Mutex::new(Some(writer))))
            .map_err(sharding_error)
    }

    fn push_texts(
        &self,
        py: Python<'_>,
        tokenizer: &Tokenizer,
        texts: Vec<Bound<'_, PyAny>>,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let texts = texts.iter().map(Text::of).collect::<PyResult<Vec<_>>>()?;
        self.with(py, |writer| {
            push_texts(writer, &tokenizer.0, &texts, threads)
        })
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
            Ok(writer.push(packing::DocumentRef { ids, mask, doc_id })?)
        })
    }

    fn publish(
        &self,
        py: Python<'_>,
        source: String,
        licence: String,
        parents: Vec<String>,
    ) -> PyResult<String> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = taken.ok_or_else(Self::gone)?;
        py.detach(|| {
            writer.publish(Provenance {
                source,
                licence,
                parents,
            })
        })
        .map(|manifest| manifest.to_json())
        .map_err(error)
    }

    fn abandon(&self, py: Python<'_>) {
        py.detach(|| drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take()));
    }
}

/// A published data set of token shards.
#[pyclass(frozen, module = "stategpt._native")]
struct TokenShards(Arc<packing::Dataset>);

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
        py.detach(|| self.0.verify()).map_err(error)
    }

    fn manifest(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.manifest().to_json())
    }

    fn document<'py>(&self, py: Python<'py>, number: u64) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let read = py.detach(|| {
            let span = self.0.span(number)?;
            let mut ids = vec![0; span.tokens as usize];
            self.0.read_tokens(&span, 0, &mut ids, &mut Vec::new())?;
            Ok(ids)
        });
        Ok(read.map_err(error)?.into_pyarray(py))
    }

    fn loss_mask<'py>(&self, py: Python<'py>, number: u64) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let read = py.detach(|| {
            let span = self.0.span(number)?;
            let mut mask = vec![false; span.tokens as usize + 1];
            self.0.read_mask(&span, 0, &mut mask, &mut Vec::new())?;
            Ok(mask)
        });
        Ok(read.map_err(error)?.into_pyarray(py))
    }

    fn doc_id(&self, py: Python<'_>, number: u64) -> PyResult<u64> {
        py.detach(|| self.0.span(number).and_then(|span| self.0.doc_id(&span)))
            .map_err(error)
    }
}

type Vector<'py, T> = Bound<'py, PyArray1<T>>;
/// Tokens, targets, loss mask, segment starts, positions, document ids, number of trained targets.
type BatchArrays<'py> = (
    Vector<'py, u32>,
    Vector<'py, u32>,
    Vector<'py, bool>,
    Vector<'py, i32>,
    Vector<'py, i32>,
    Vector<'py, u64>,
    u64,
);

fn batch<'py>(
    py: Python<'py>,
    rows: &dyn Rows,
    first: u64,
    count: u64,
    batch_rows: u64,
) -> PyResult<BatchArrays<'py>> {
    let written = py.detach(|| {
        let batch = rows.batch(first, count, batch_rows)?;
        let target_count = batch.target_count();
        Ok((batch, target_count))
    });
    let (batch, target_count) = written.map_err(error)?;
    Ok((
        batch.tokens.into_pyarray(py),
        batch.targets.into_pyarray(py),
        batch.loss_mask.into_pyarray(py),
        batch.segment_start.into_pyarray(py),
        batch.position.into_pyarray(py),
        batch.doc_ids.into_pyarray(py),
        target_count,
    ))
}

/// A data set as rows.
#[pyclass(frozen, module = "stategpt._native")]
struct PackedRows(Arc<packing::Packed>);

#[pymethods]
impl PackedRows {
    #[new]
    fn new(
        py: Python<'_>,
        shards: &TokenShards,
        row_tokens: u32,
        strategy: &str,
        isolate_documents: bool,
        reject_too_long: bool,
        seed: u64,
    ) -> PyResult<Self> {
        let strategy = Strategy::named(strategy).map_err(error)?;
        let config = packing::PackConfig {
            row_tokens,
            strategy,
            isolate_documents,
            reject_too_long,
            seed,
        };
        // Best fit reads the offsets of all documents: a second for tens of millions.
        py.detach(|| packing::Packed::new(Arc::clone(&shards.0), config))
            .map(|packed| Self(Arc::new(packed)))
            .map_err(error)
    }

    #[getter]
    fn rows(&self) -> u64 {
        self.0.num_rows()
    }

    #[getter]
    fn tokens(&self) -> u64 {
        self.0.tokens()
    }

    #[getter]
    fn rejected(&self) -> (u64, u64) {
        (self.0.rejected().documents, self.0.rejected().tokens)
    }

    #[getter]
    fn fingerprint(&self) -> &str {
        self.0.fingerprint()
    }

    fn documents_of(&self, py: Python<'_>, row: u64) -> PyResult<Vec<u64>> {
        py.detach(|| self.0.documents_of(row)).map_err(error)
    }

    fn batch<'py>(
        &self,
        py: Python<'py>,
        first: u64,
        rows: u64,
        batch_rows: u64,
    ) -> PyResult<BatchArrays<'py>> {
        batch(py, self.0.as_ref(), first, rows, batch_rows)
    }
}

/// Several data sets as rows.
#[pyclass(frozen, module = "stategpt._native")]
struct MixedRows(packing::Mixture);

#[pymethods]
impl MixedRows {
    #[new]
    fn new(
        py: Python<'_>,
        sources: Vec<(String, Py<PackedRows>, f64)>,
        seed: u64,
        max_epochs: Option<f64>,
    ) -> PyResult<Self> {
        let source = |(name, packed, proportion): (String, Py<PackedRows>, f64)| packing::Source {
            name,
            packed: Arc::clone(&packed.get().0),
            proportion,
        };
        let sources = sources.into_iter().map(source).collect();
        py.detach(|| packing::Mixture::new(sources, seed, max_epochs))
            .map(Self)
            .map_err(error)
    }

    #[getter]
    fn rows(&self) -> Option<u64> {
        Rows::rows(&self.0)
    }

    #[getter]
    fn block_rows(&self) -> u64 {
        self.0.block_rows()
    }

    #[getter]
    fn fingerprint(&self) -> &str {
        self.0.fingerprint()
    }

    fn origin(&self, py: Python<'_>, row: u64) -> PyResult<(String, u64, u64)> {
        let origin = py.detach(|| self.0.origin(row)).map_err(error)?;
        Ok((
            self.0.sources()[origin.source].name.clone(),
            origin.epoch,
            origin.plan_row,
        ))
    }

    fn documents_of(&self, py: Python<'_>, row: u64) -> PyResult<(String, Vec<u64>)> {
        let (source, documents) = py.detach(|| self.0.documents_of(row)).map_err(error)?;
        Ok((self.0.sources()[source].name.clone(), documents))
    }

    fn report(&self, py: Python<'_>, rows: u64) -> Vec<(String, f64, u64, u64, f64)> {
        let drawn = py.detach(|| self.0.report(rows));
        let names = self.0.sources().iter().map(|source| source.name.clone());
        names
            .zip(drawn)
            .map(|(name, d)| (name, d.planned_share, d.rows, d.tokens, d.epochs))
            .collect()
    }

    fn batch<'py>(
        &self,
        py: Python<'py>,
        first: u64,
        rows: u64,
        batch_rows: u64,
    ) -> PyResult<BatchArrays<'py>> {
        batch(py, &self.0, first, rows, batch_rows)
    }
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ShardWriter>()?;
    module.add_class::<TokenShards>()?;
    module.add_class::<PackedRows>()?;
    module.add_class::<MixedRows>()
}
