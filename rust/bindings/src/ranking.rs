//! Python face of `stategpt-ranking`.

use pyo3::prelude::*;

pub fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
