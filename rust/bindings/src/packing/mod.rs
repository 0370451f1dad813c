//! Python face of `stategpt-packing` and of the pipeline's way from text to shards. The interpreter is let go wherever
//! files are touched or rows are written.

mod rows;
mod shards;

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use stategpt_packing::{PackingError, STRATEGIES};

use crate::errors::typed;

/// The class of `stategpt.errors` for each kind of failure.
fn error(error: PackingError) -> PyErr {
    let class = match error {
        PackingError::Storage(error) => return crate::storage::error(error),
        PackingError::Layout(error) => return crate::layout::error(error),
        PackingError::Corrupt { .. } => "CorruptArtifact",
        PackingError::Foreign { .. } => "ForeignArtifact",
        PackingError::UnknownToken { .. } => "UnknownToken",
        PackingError::OutOfMemory { .. } => return PyMemoryError::new_err(error.to_string()),
        PackingError::BadDocument { .. }
        | PackingError::NoRows { .. }
        | PackingError::Exhausted { .. } => "DataError",
        PackingError::BadSetting { .. }
        | PackingError::NoSuchRow { .. }
        | PackingError::NoSuchDocument { .. } => "InvalidArgument",
    };
    typed(class, error.to_string())
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let strategies = STRATEGIES.iter().map(|strategy| strategy.name());
    module.add("PACKING_STRATEGIES", PyTuple::new(module.py(), strategies)?)?;
    module.add_class::<shards::ShardWriter>()?;
    module.add_class::<shards::TokenShards>()?;
    module.add_class::<rows::PackedRows>()?;
    module.add_class::<rows::MixedRows>()
}
