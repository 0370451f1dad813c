//! Token ids between Python and Rust: lists, arrays of any integer type, anything numpy makes an array of.

use std::ops::Deref;

use numpy::{
    IntoPyArray, PyArray1, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray1, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyTypeError, PyUnicodeDecodeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyString, PyType};
use stategpt_tokenizer::{Ragged, valid_text};

use crate::errors::typed;

/// uint32 [n], as Python receives it.
pub type IdArray<'py> = Bound<'py, PyArray1<u32>>;

/// uint64 [n + 1], where texts or tokens end.
pub type Offsets<'py> = Bound<'py, PyArray1<u64>>;

/// Up to this length copying into a numpy array is cheaper than wrapping a Rust buffer in one.
const MAX_COPIED: usize = 4096;

/// From this length on a list is converted through an `array.array`.
const MIN_ARRAY: usize = 64;

/// An array of these ids.
pub fn array(py: Python<'_>, ids: Vec<u32>) -> IdArray<'_> {
    if ids.len() <= MAX_COPIED {
        PyArray1::from_slice(py, &ids)
    } else {
        ids.into_pyarray(py)
    }
}

/// The ids of several texts, and where each ends.
pub fn ragged(py: Python<'_>, ragged: Ragged) -> (IdArray<'_>, Offsets<'_>) {
    (array(py, ragged.ids), ragged.offsets.into_pyarray(py))
}

/// Ids as passed by Python: borrowed where they are contiguous uint32, else copied.
pub enum Ids<'py> {
    Borrowed(PyReadonlyArray1<'py, u32>),
    Owned(Vec<u32>),
}

impl<'py> Ids<'py> {
    /// The ids of `given`, none wrapped around. `vocab_size` is for the error.
    pub fn of(given: &Bound<'py, PyAny>, vocab_size: usize) -> PyResult<Self> {
        if let Ok(list) = given.cast::<PyList>() {
            return of_list(list, vocab_size).map(Self::Owned);
        }
        if let Ok(array) = given.cast::<PyArray1<u32>>() {
            return of_array(array);
        }
        match given.cast::<PyUntypedArray>() {
            Ok(array) => of_other_array(array, vocab_size),
            Err(_) => {
                let made = given
                    .py()
                    .import("numpy")?
                    .call_method1("asarray", (given,))?;
                of_other_array(made.cast::<PyUntypedArray>()?, vocab_size)
            }
        }
    }
}

impl Deref for Ids<'_> {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match self {
            // Only contiguous arrays are borrowed: `of_array`.
            Self::Borrowed(array) => array.as_slice().unwrap_or_default(),
            Self::Owned(ids) => ids,
        }
    }
}

/// One Python number as an id.
pub fn id_of(given: &Bound<'_, PyAny>, vocab_size: usize) -> PyResult<u32> {
    given.extract::<u32>().map_err(|reason| {
        if reason.is_instance_of::<PyTypeError>(given.py()) {
            reason
        } else {
            unknown(given, vocab_size)
        }
    })
}

fn of_list(list: &Bound<'_, PyList>, vocab_size: usize) -> PyResult<Vec<u32>> {
    if list.len() < MIN_ARRAY {
        return list
            .iter()
            .map(|item| {
                item.extract()
                    .map_err(|reason| refused(reason, &item, vocab_size))
            })
            .collect();
    }
    // Python's loop over a list borrows its items; a loop through the stable interface would own each for a moment.
    static ARRAY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = list.py();
    match ARRAY.import(py, "array", "array")?.call1(("I", list)) {
        Ok(array) => PyBuffer::<u32>::get(&array)?.to_vec(py),
        Err(reason) => {
            // The error does not say which item it was.
            let odd = list.iter().find(|item| item.extract::<u32>().is_err());
            Err(odd.map_or(reason.clone_ref(py), |item| {
                refused(reason, &item, vocab_size)
            }))
        }
    }
}

/// The error for an item that is no id.
fn refused(reason: PyErr, item: &Bound<'_, PyAny>, vocab_size: usize) -> PyErr {
    if reason.is_instance_of::<PyTypeError>(item.py()) {
        let message = format!("ids are not all integers ({reason}); pass token ids");
        return typed("InvalidArgument", message);
    }
    unknown(item, vocab_size)
}

fn of_array<'py>(array: &Bound<'py, PyArray1<u32>>) -> PyResult<Ids<'py>> {
    if array.is_c_contiguous() {
        Ok(Ids::Borrowed(array.try_readonly()?))
    } else {
        Ok(Ids::Owned(
            array.try_readonly()?.as_array().iter().copied().collect(),
        ))
    }
}

/// Arrays of other types and shapes: through int64, or uint64 where that could not hold them.
fn of_other_array<'py>(
    array: &Bound<'py, PyUntypedArray>,
    vocab_size: usize,
) -> PyResult<Ids<'py>> {
    if array.len() == 0 {
        return Ok(Ids::Owned(Vec::new()));
    }
    let kind = array.dtype().kind();
    if array.ndim() != 1 || !matches!(kind, b'i' | b'u') {
        let (dtype, shape) = (array.dtype(), array.shape());
        let message = format!("ids are {dtype} {shape:?}; pass integers in one dimension");
        return Err(typed("InvalidArgument", message));
    }
    let unknown = |id: &dyn std::fmt::Display| unknown(id, vocab_size);
    let wide = array.call_method1("astype", (if kind == b'i' { "int64" } else { "uint64" },))?;
    let ids: PyResult<Vec<u32>> = if kind == b'i' {
        let wide = wide.cast::<PyArray1<i64>>()?.try_readonly()?;
        let narrow = |&id: &i64| u32::try_from(id).map_err(|_| unknown(&id));
        wide.as_array().iter().map(narrow).collect()
    } else {
        let wide = wide.cast::<PyArray1<u64>>()?.try_readonly()?;
        let narrow = |&id: &u64| u32::try_from(id).map_err(|_| unknown(&id));
        wide.as_array().iter().map(narrow).collect()
    };
    ids.map(Ids::Owned)
}

fn unknown(id: &(impl std::fmt::Display + ?Sized), vocab_size: usize) -> PyErr {
    let message = format!("token id {id} is not in this vocabulary of {vocab_size} ids");
    typed("UnknownToken", message)
}

/// Text of bytes; what is not UTF-8 becomes U+FFFD. If Python's check passes, there is no second one.
pub fn text<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    match PyString::from_bytes(py, bytes) {
        Err(reason) if reason.is_instance_of::<PyUnicodeDecodeError>(py) => {
            let text = valid_text(bytes).map_err(super::errors::error)?;
            PyString::from_bytes(py, text.as_bytes())
        }
        other => other,
    }
}

/// These bytes for Python.
pub fn bytes<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, bytes.len(), |copy| {
        copy.copy_from_slice(bytes);
        Ok(())
    })
}
