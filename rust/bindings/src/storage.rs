//! Python interface of `stategpt-storage`. Every call releases the GIL: an fsync takes milliseconds, hashing a checkpoint
//! seconds.

use std::path::PathBuf;
use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use stategpt_storage as storage;
use stategpt_storage::{Label, Manifest, RealDisk, StorageError};

use crate::errors::typed;
use crate::waiting::cancellable;

/// The class of `stategpt.errors` for each kind of failure.
pub(crate) fn error(error: StorageError) -> PyErr {
    let class = match error {
        StorageError::OutOfSpace { .. } => "OutOfSpace",
        StorageError::Io { .. } | StorageError::Stopped { .. } => "StorageError",
        StorageError::Corrupt { .. } | StorageError::Unpublished { .. } => "CorruptArtifact",
        StorageError::Foreign { .. } => "ForeignArtifact",
        StorageError::Unpublishable { .. } | StorageError::Json { .. } => "InvalidArgument",
    };
    typed(class, error.to_string())
}

fn to_json(manifest: Manifest) -> String {
    manifest.to_json()
}

#[pyfunction]
fn publish_file(py: Python<'_>, path: PathBuf, data: PyBackedBytes) -> PyResult<()> {
    py.detach(|| storage::publish_bytes(&RealDisk, &path, &data))
        .map(drop)
        .map_err(error)
}

#[pyfunction]
#[pyo3(signature = (folder, kind=None))]
fn verify_folder(py: Python<'_>, folder: PathBuf, kind: Option<String>) -> PyResult<String> {
    cancellable(
        py,
        |flag| {
            storage::verify_folder_while(&RealDisk, &folder, kind.as_deref(), &|| !flag.is_raised())
        },
        error,
    )
    .map(to_json)
}

#[pyfunction]
fn read_manifest(py: Python<'_>, folder: PathBuf) -> PyResult<String> {
    py.detach(|| storage::read_manifest(&RealDisk, &folder))
        .map(to_json)
        .map_err(error)
}

#[pyfunction]
fn verify_file(py: Python<'_>, folder: PathBuf, name: &str) -> PyResult<bool> {
    py.detach(|| storage::verify_file(&RealDisk, &folder, name))
        .map_err(error)
}

#[pyfunction]
fn hash_file(py: Python<'_>, path: PathBuf) -> PyResult<(u64, String)> {
    cancellable(
        py,
        |flag| storage::hash_file(&path, &|| !flag.is_raised()),
        error,
    )
    .map(|record| (record.size, record.blake3))
}

#[pyfunction]
fn fingerprint_json(py: Python<'_>, text: &str) -> PyResult<String> {
    py.detach(|| storage::fingerprint_json(text)).map_err(error)
}

#[pyfunction]
fn append_line(py: Python<'_>, path: PathBuf, line: &str, durable: bool) -> PyResult<()> {
    py.detach(|| storage::append_line(&path, line.as_bytes(), durable))
        .map_err(error)
}

/// A folder under a temporary name; `None` once it is published or abandoned.
#[pyclass(frozen, module = "stategpt._native")]
struct StagedFolder {
    #[pyo3(get)]
    path: PathBuf,
    staged: Mutex<Option<storage::StagedFolder<'static>>>,
}

impl StagedFolder {
    fn take(&self) -> Result<storage::StagedFolder<'static>, PyErr> {
        let staged = self.staged.lock().ok().and_then(|mut staged| staged.take());
        staged.ok_or_else(|| {
            let path = self.path.display();
            typed(
                "InvalidArgument",
                format!("{path} was already published or abandoned; stage a new folder"),
            )
        })
    }
}

#[pymethods]
impl StagedFolder {
    #[new]
    fn new(py: Python<'_>, target: PathBuf) -> PyResult<Self> {
        let staged = py
            .detach(|| storage::StagedFolder::create(&RealDisk, &target))
            .map_err(error)?;
        Ok(Self {
            path: staged.path().to_path_buf(),
            staged: Mutex::new(Some(staged)),
        })
    }

    fn publish(&self, py: Python<'_>, label_json: &str) -> PyResult<String> {
        let staged = self.take()?;
        cancellable(
            py,
            |flag| staged.publish_while(Label::from_json(label_json)?, &|| !flag.is_raised()),
            error,
        )
        .map(to_json)
    }

    fn abandon(&self, py: Python<'_>) -> PyResult<()> {
        let staged = self.take()?;
        py.detach(|| drop(staged));
        Ok(())
    }
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<StagedFolder>()?;
    module.add_function(wrap_pyfunction!(publish_file, module)?)?;
    module.add_function(wrap_pyfunction!(verify_folder, module)?)?;
    module.add_function(wrap_pyfunction!(read_manifest, module)?)?;
    module.add_function(wrap_pyfunction!(verify_file, module)?)?;
    module.add_function(wrap_pyfunction!(fingerprint_json, module)?)?;
    module.add_function(wrap_pyfunction!(hash_file, module)?)?;
    module.add_function(wrap_pyfunction!(append_line, module)?)
}
