//! Maps failures of packing onto classes of `stategpt.errors`.

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use stategpt_packing::PackingError;

use crate::errors::typed;

/// The class of `stategpt.errors` for each kind of failure.
pub fn error(error: PackingError) -> PyErr {
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
