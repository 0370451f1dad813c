//! Maps the crate's error enum onto classes of `stategpt.errors`.

use pyo3::prelude::*;
use stategpt_curation::Error;

use crate::errors::typed;

/// The class of `stategpt.errors` for each kind of failure.
pub(super) fn to_error(error: Error) -> PyErr {
    let class = match error {
        Error::OutOfSpace { .. } => "OutOfSpace",
        Error::Temporary { .. } | Error::Damaged { .. } | Error::Stopped => "StorageError",
        Error::Changed { .. } | Error::TooMany { .. } => "DataError",
        _ => "InvalidArgument",
    };
    typed(class, error.to_string())
}
