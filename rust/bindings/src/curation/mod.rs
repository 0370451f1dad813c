//! Python interface of `stategpt-curation`.

mod contamination;
mod duplicates;
mod errors;
mod rules;

use pyo3::prelude::*;

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    duplicates::init(module)?;
    contamination::init(module)?;
    rules::init(module)
}
