//! Python interface of `stategpt-tokenizer`.

mod engine;
mod errors;
mod ids;
mod stream;
mod text;
mod trainer;

use pyo3::prelude::*;

pub use engine::Tokenizer;
pub use errors::error;
pub use text::mode;

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // A child that is forked while another thread builds these tables would wait for them forever.
    stategpt_tokenizer::make_tables();
    module.add_class::<Tokenizer>()?;
    module.add_class::<stream::StreamDecoder>()?;
    module.add_class::<trainer::BpeTrainer>()
}
