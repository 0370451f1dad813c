//! Python interface of `stategpt-lines`: text files and their lines.

use std::borrow::Cow;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyList, PyString, PyType};
use stategpt_lines::{BatchReader, Expansion, Gathered, LinesError, string_fields};

use crate::errors::{typed, typed_with};
use crate::waiting::{cancellable, polling};

/// Number, byte offset, content, size, whether a newline ends it.
type LineFields<'py> = (u64, u64, Bound<'py, PyBytes>, u64, bool);
/// The place of a record, and its fields or, where they are not simple strings, the fields of its line.
type RecordFields<'py> = (
    u64,
    u64,
    Option<Vec<Bound<'py, PyString>>>,
    Option<LineFields<'py>>,
);
type Reader = BatchReader<BufReader<stategpt_lines::TextFile>>;

/// A file that is being read; `None` once it is closed.
#[pyclass(frozen, module = "stategpt._native")]
pub struct TextFile {
    /// The class of error for a compressed file that is damaged or expands too far.
    malformed: Py<PyType>,
    path: PathBuf,
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
        let on_error = |failure: Option<E>| failure.map_or_else(closed, typed_error);
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
            LinesError::NotAnArray { .. } => {
                let message = format!("{}: {message}", self.path.display());
                PyErr::from_type(self.malformed.bind(py).clone(), message)
            }
            other => of_any_file(&other),
        }
    }
}

fn closed() -> PyErr {
    let message = "this file is closed; open it again";
    typed("InvalidArgument", message.to_owned())
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
    #[pyo3(signature = (path, malformed, free_bytes, max_ratio, elements = false))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        malformed: Py<PyType>,
        free_bytes: u64,
        max_ratio: u64,
        elements: bool,
    ) -> PyResult<Self> {
        let expansion = Expansion {
            free_bytes,
            max_ratio,
        };
        let file = py
            .detach(|| stategpt_lines::TextFile::open(&path, expansion))
            .map_err(|error| of_any_file(&error))?;
        let reader = if elements {
            BatchReader::elements(file.buffered())
        } else {
            BatchReader::new(file.buffered())
        };
        Ok(Self {
            malformed,
            path,
            reader: Mutex::new(Some(reader)),
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
        Ok(batch.lines().map(|line| line_fields(py, &line)).collect())
    }

    fn next_records<'py>(
        &self,
        py: Python<'py>,
        max_line_bytes: u64,
        keys: Vec<String>,
    ) -> PyResult<Vec<RecordFields<'py>>> {
        let batch = self.with(
            py,
            |reader, should_continue| reader.next_batch(max_line_bytes, should_continue),
            |e| self.error(py, e),
        )?;
        let parsed: Vec<Option<Vec<String>>> = py.detach(|| {
            let fields = |line: stategpt_lines::Line<'_>| {
                let fields = line
                    .is_whole()
                    .then(|| string_fields(line.content, &keys))??;
                Some(fields.into_iter().map(Cow::into_owned).collect())
            };
            batch.lines().map(fields).collect()
        });
        let records = batch.lines().zip(parsed).map(|(line, fields)| {
            let texts = fields.map(|fields| {
                let texts = fields.iter().map(|field| PyString::new(py, field));
                texts.collect()
            });
            let whole = texts.is_none().then(|| line_fields(py, &line));
            (line.number, line.byte_offset, texts, whole)
        });
        Ok(records.collect())
    }

    fn gather_texts<'py>(
        &self,
        py: Python<'py>,
        key: &str,
        max_line_bytes: u64,
        enough_bytes: usize,
        texts: &Texts,
    ) -> PyResult<(bool, Option<LineFields<'py>>)> {
        let gathered = polling(
            py,
            |should_continue| {
                let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
                let reader = reader.as_mut().ok_or(None)?;
                let mut texts = texts.held();
                reader
                    .gather_texts(
                        key,
                        max_line_bytes,
                        enough_bytes,
                        &mut texts,
                        should_continue,
                    )
                    .map_err(Some)
            },
            |failure| failure.map_or_else(closed, |failure| self.error(py, failure)),
        )?;
        Ok(match gathered {
            Gathered::Enough => (false, None),
            Gathered::End => (true, None),
            Gathered::Left(line) => (false, Some(line_fields(py, &line.as_line()))),
        })
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

fn line_fields<'py>(py: Python<'py>, line: &stategpt_lines::Line<'_>) -> LineFields<'py> {
    let content = PyBytes::new(py, line.content);
    (
        line.number,
        line.byte_offset,
        content,
        line.size,
        line.is_ended,
    )
}

/// Texts that were gathered, without a Python object for each.
#[pyclass(frozen, module = "stategpt._native")]
pub struct Texts(Mutex<stategpt_lines::Texts>);

impl Texts {
    /// The texts, locked by a thread that has the GIL: it lets others have it while it waits, as they may ask for signals.
    fn attached(&self, py: Python<'_>) -> MutexGuard<'_, stategpt_lines::Texts> {
        let locked = self.0.lock_py_attached(py);
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    /// The texts, locked by a thread without the GIL.
    pub fn held(&self) -> MutexGuard<'_, stategpt_lines::Texts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Texts {
    #[new]
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.attached(py).len()
    }

    fn append(&self, py: Python<'_>, text: &str) {
        self.attached(py).push(text);
    }

    fn has(&self, py: Python<'_>, enough_bytes: usize) -> bool {
        self.attached(py).has(enough_bytes)
    }

    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let mut held = self.attached(py);
        let texts = held.iter().map(|text| PyString::from_bytes(py, text));
        let list = PyList::new(py, texts.collect::<PyResult<Vec<_>>>()?)?;
        held.clear();
        Ok(list)
    }
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Texts>()?;
    module.add_class::<TextFile>()
}
