//! Duplicates: the state is in Rust, Python hands over batches of texts.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use stategpt_curation::duplicates::{Finder, Place, Settings, Twin};
use stategpt_curation::{Bands, COMPONENTS, Error, signatures};

use super::errors::to_error;
use crate::waiting::cancellable;

/// Source, file, line and byte offset of a document.
type PlaceFields = (PyBackedStr, PyBackedStr, u64, u64);
/// Number, source, file, line, byte offset and equal components of a twin.
type TwinFields = (u32, String, String, u64, u64, u32);

/// A search for duplicates; see `_native.pyi`.
#[pyclass(frozen, module = "stategpt._native")]
struct DuplicateFinder(Mutex<Finder>);

#[pymethods]
impl DuplicateFinder {
    #[new]
    #[pyo3(signature = (folder, memory_bytes, priority, near=None))]
    fn new(
        folder: PathBuf,
        memory_bytes: usize,
        priority: Vec<String>,
        near: Option<(usize, usize, f64)>,
    ) -> PyResult<Self> {
        let bands = near
            .map(|(bands, rows, threshold)| Bands::new(bands, rows, threshold))
            .transpose();
        let settings = Settings {
            bands: bands.map_err(to_error)?,
            priority,
            folder,
            memory_bytes,
        };
        let finder = Finder::new(settings).map_err(to_error)?;
        Ok(Self(Mutex::new(finder)))
    }

    fn add(
        &self,
        py: Python<'_>,
        texts: Vec<PyBackedStr>,
        places: Vec<PlaceFields>,
        threads: usize,
    ) -> PyResult<()> {
        let result = py.detach(|| {
            let place = |(source, file, line, byte_offset): &PlaceFields| Place {
                source: source.to_string(),
                file: file.to_string(),
                line: *line,
                byte_offset: *byte_offset,
            };
            let places: Vec<Place> = places.iter().map(place).collect();
            self.finder().add(&borrowed(&texts), &places, threads)
        });
        result.map_err(to_error)
    }

    fn compare(&self, py: Python<'_>) -> PyResult<[u64; 6]> {
        let compare =
            |flag: &stategpt_tokenizer::CancelFlag| self.finder().compare(&|| !flag.is_raised());
        let counts = cancellable(py, compare, to_error)?;
        let pairs = counts.pairs;
        Ok([
            counts.documents,
            counts.clusters,
            counts.removed,
            pairs.compared,
            pairs.near,
            pairs.skipped,
        ])
    }

    fn decide(&self, py: Python<'_>, texts: Vec<PyBackedStr>) -> PyResult<Vec<Option<TwinFields>>> {
        let decided = py.detach(|| self.finder().decide(&borrowed(&texts)));
        let decided = decided.map_err(to_error)?;
        Ok(decided.into_iter().map(|twin| twin.map(fields)).collect())
    }

    fn removed(
        &self,
        py: Python<'_>,
        start: u32,
        limit: usize,
    ) -> PyResult<Vec<(u32, TwinFields)>> {
        let found = py.detach(|| self.finder().removed(start, limit));
        let row = |(document, twin)| (document, fields(twin));
        Ok(found.map_err(to_error)?.into_iter().map(row).collect())
    }

    fn finish(&self) -> PyResult<()> {
        self.finder().finish().map_err(to_error)
    }

    #[getter]
    fn memory_bytes(&self) -> usize {
        self.finder().memory_bytes()
    }

    #[getter]
    fn disk_bytes(&self) -> u64 {
        self.finder().disk_bytes()
    }
}

impl DuplicateFinder {
    fn finder(&self) -> MutexGuard<'_, Finder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fields(twin: Twin) -> TwinFields {
    let place = twin.place;
    (
        twin.number,
        place.source,
        place.file,
        place.line,
        place.byte_offset,
        twin.equal,
    )
}

/// Texts as the crates take them.
pub(super) fn borrowed(texts: &[PyBackedStr]) -> Vec<&str> {
    texts.iter().map(|text| &**text).collect()
}

#[pyfunction]
fn minhash_signatures<'py>(
    py: Python<'py>,
    texts: Vec<PyBackedStr>,
    threads: usize,
) -> PyResult<Bound<'py, PyArray2<u32>>> {
    let found = py.detach(|| signatures(&borrowed(&texts), threads));
    let mut flat = Vec::with_capacity(found.len() * COMPONENTS);
    for signature in &found {
        flat.extend_from_slice(&signature.unwrap_or([u32::MAX; COMPONENTS]));
    }
    PyArray1::from_vec(py, flat).reshape([found.len(), COMPONENTS])
}

#[pyfunction]
fn near_duplicate_probability(
    bands: usize,
    rows: usize,
    threshold: f64,
    jaccard: f64,
) -> PyResult<f64> {
    let bands = Bands::new(bands, rows, threshold).map_err(|error: Error| to_error(error))?;
    Ok(bands.probability(jaccard))
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<DuplicateFinder>()?;
    module.add_function(wrap_pyfunction!(minhash_signatures, module)?)?;
    module.add_function(wrap_pyfunction!(near_duplicate_probability, module)?)
}
