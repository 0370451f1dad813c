//! Maps each crate's error enum onto a class of `stategpt.errors`.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// An instance of `stategpt.errors.<class>` with `message`.
///
/// The class lives in Python so that `except stategpt.errors.X` works with and without the native module.
pub fn typed(class: &str, message: String) -> PyErr {
    Python::attach(
        |py| match py.import("stategpt.errors").and_then(|m| m.getattr(class)) {
            Ok(class) => match class.call1((message,)) {
                Ok(error) => PyErr::from_value(error),
                Err(error) => error,
            },
            Err(_) => PyRuntimeError::new_err(message),
        },
    )
}
