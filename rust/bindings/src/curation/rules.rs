//! Cleaning and quality rules.

use pyo3::prelude::*;

#[pyfunction]
fn clean_text(py: Python<'_>, text: &str) -> String {
    py.detach(|| stategpt_curation::clean(text).into_owned())
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(clean_text, module)?)
}
