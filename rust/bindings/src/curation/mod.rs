//! Python interface of `stategpt-curation`.

mod rules;

use pyo3::prelude::*;

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    rules::init(module)
}
