//! `stategpt._native`: every method here is one statement that lets the interpreter go and calls a pure crate.

mod errors;
mod layout;
mod lines;
mod packing;
mod ranking;
mod signals;
mod storage;
mod tokenizer;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    storage::init(module)?;
    tokenizer::init(module)?;
    lines::init(module)?;
    layout::init(module)?;
    packing::init(module)?;
    ranking::init(module)
}
