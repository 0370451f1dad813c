//! Python interface of `stategpt-lines`: text files and their lines.

use std::io::BufReader;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};
use stategpt_lines::{BatchReader, Expansion, LinesError};

use crate::errors::{typed, typed_with};
use crate::waiting::cancellable;

/// Number, byte offset, content, size, whether a newline ends it.
type LineFields<'py> = (u64, u64, Bound<'py, PyBytes>, u64, bool);
type Reader = BatchReader<BufReader<stategpt_lines::TextFile>>;

/// A file that is being read; `None` once it is closed.
#[pyclass(frozen, module = "stategpt._native")]
pub struct TextFile {
    /// The class of error for a compressed file that is damaged or expands too far.
    malformed: Py<PyType>,
    reader: Mutex<Option<Reader>>,
}

impl TextFile {
    /// Runs `work` on the open file without the GIL.
    pub fn with<T: Send, E: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Reader, &dyn Fn() -> bool) -> Result<T, E> + Send,
        typed_error: impl FnOnce(E) -> PyErr,
    ) -> PyResult<T> {
        let on_error = |failure: Option<E>| match failure {
            Some(failure) => typed_error(failure),
            None => typed(
                "InvalidArgument",
                "this file is closed; open it again".to_owned(),
            ),
        };
        cancellable(
            py,
            |flag| {
                let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
                work(reader.as_mut().ok_or(None)?, &|| !flag.is_raised()).map_err(Some)
            },
            on_error,
        )
    }

    /// The Python error for each kind of failure.
    pub fn error(&self, py: Python<'_>, error: LinesError) -> PyErr {
        let message = error.to_string();
        match error {
            LinesError::Damaged { .. } | LinesError::Expanded { .. } => {
                PyErr::from_type(self.malformed.bind(py).clone(), message)
            }
            other => of_any_file(&other),
        }
    }
}

fn of_any_file(error: &LinesError) -> PyErr {
    let message = error.to_string();
    match error {
        LinesError::Missing { code, .. } => typed_with("MissingFile", (*code, message)),
        _ => typed("StorageError", message),
    }
}

#[pymethods]
impl TextFile {
    #[new]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        malformed: Py<PyType>,
        free_bytes: u64,
        max_ratio: u64,
    ) -> PyResult<Self> {
        let expansion = Expansion {
            free_bytes,
            max_ratio,
        };
        let file = py
            .detach(|| stategpt_lines::TextFile::open(&path, expansion))
            .map_err(|error| of_any_file(&error))?;
        Ok(Self {
            malformed,
            reader: Mutex::new(Some(BatchReader::new(file.buffered()))),
        })
    }

    fn read<'py>(&self, py: Python<'py>, size: usize) -> PyResult<Bound<'py, PyBytes>> {
        let read = self.with(py, |reader, _| reader.read(size), |e| self.error(py, e))?;
        Ok(PyBytes::new(py, &read))
    }

    fn next_lines<'py>(
        &self,
        py: Python<'py>,
        max_line_bytes: u64,
    ) -> PyResult<Vec<LineFields<'py>>> {
        let batch = self.with(
            py,
            |reader, should_continue| reader.next_batch(max_line_bytes, should_continue),
            |e| self.error(py, e),
        )?;
        let fields = batch.lines().map(|line| {
            let content = PyBytes::new(py, line.content);
            (
                line.number,
                line.byte_offset,
                content,
                line.size,
                line.is_ended,
            )
        });
        Ok(fields.collect())
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            drop(
                self.reader
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(),
            )
        });
    }
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<TextFile>()
}
