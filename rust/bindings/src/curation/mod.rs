//! Python interface of `stategpt-curation`.

mod contamination;
mod duplicates;
mod rules;

use pyo3::prelude::*;
use stategpt_curation::Error;

use crate::errors::typed;

/// The class of `stategpt.errors` for each kind of failure.
fn to_error(error: Error) -> PyErr {
    let class = match error {
        Error::OutOfSpace { .. } => "OutOfSpace",
        Error::Temporary { .. } | Error::Damaged { .. } | Error::Stopped => "StorageError",
        Error::Changed { .. } | Error::TooMany { .. } => "DataError",
        _ => "InvalidArgument",
    };
    typed(class, error.to_string())
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    duplicates::init(module)?;
    contamination::init(module)?;
    rules::init(module)
}
