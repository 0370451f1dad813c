//! `stategpt._native`: methods convert arguments, release the GIL and call a Python-free crate.
//!
//! Short calls keep the GIL: below [`waiting::MIN_DETACHED`] bytes (or ids) releasing it would take longer than the call.
//! Long ones can be cancelled by a signal (`waiting`). Each crate's error enum becomes a class of `stategpt.errors`.

mod attention;
mod curation;
mod errors;
mod layout;
mod lines;
mod matvec;
mod packing;
mod pattern;
mod ranking;
mod rows;
mod storage;
mod tokenizer;
mod waiting;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    stategpt_threads::note_process();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    storage::init(module)?;
    tokenizer::init(module)?;
    lines::init(module)?;
    layout::init(module)?;
    matvec::init(module)?;
    attention::init(module)?;
    rows::init(module)?;
    packing::init(module)?;
    pattern::init(module)?;
    ranking::init(module)?;
    curation::init(module)
}
