//! Python face of `stategpt-tokenizer`.

use pyo3::prelude::*;

pub fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
