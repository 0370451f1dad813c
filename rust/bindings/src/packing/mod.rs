//! Python interface of `stategpt-packing`, and of the pipeline from text to shards.

mod errors;
mod rows;
mod shards;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use stategpt_packing::STRATEGIES;

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let strategies = STRATEGIES.iter().map(|strategy| strategy.name());
    module.add("PACKING_STRATEGIES", PyTuple::new(module.py(), strategies)?)?;
    module.add_class::<shards::ShardWriter>()?;
    module.add_class::<shards::TokenShards>()?;
    module.add_class::<rows::PackedRows>()?;
    module.add_class::<rows::MixedRows>()?;
    module.add_function(wrap_pyfunction!(rows::best_fit_rows, module)?)
}
