//! Maps each crate's error enum onto a class of `stategpt.errors`.

use pyo3::call::PyCallArgs;
use pyo3::prelude::*;

/// An instance of `stategpt.errors.<class>` with `message`.
///
/// The class is defined in Python, so that `except stategpt.errors.X` works with and without the native module.
pub fn typed(class: &str, message: String) -> PyErr {
    typed_with(class, (message,))
}

/// What is said of an array whose numbers are not side by side.
pub fn scattered() -> PyErr {
    let message = "the numbers are not contiguous; copy them first";
    typed("InvalidArgument", message.to_owned())
}

/// An instance of `stategpt.errors.<class>` from the arguments of its constructor.
pub fn typed_with<A>(class: &str, arguments: A) -> PyErr
where
    A: for<'py> PyCallArgs<'py>,
{
    let made = Python::attach(|py| {
        let class = py.import("stategpt.errors")?.getattr(class)?;
        class.call1(arguments).map(PyErr::from_value)
    });
    made.unwrap_or_else(|failure: PyErr| failure)
}
