//! Regular expressions of users: matching takes time linear in the text, whatever the pattern.

use pyo3::prelude::*;
use regex::{Regex, RegexBuilder};

use crate::errors::typed;

/// Memory that a compiled pattern may take: a counted repetition of a counted repetition is refused, not built.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// A compiled pattern.
#[pyclass(frozen, module = "stategpt._native")]
struct LinearPattern(Regex);

#[pymethods]
impl LinearPattern {
    #[new]
    fn new(pattern: &str) -> PyResult<Self> {
        RegexBuilder::new(pattern)
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_COMPILED_BYTES)
            .build()
            .map(Self)
            .map_err(|error| typed("InvalidArgument", error.to_string()))
    }

    /// Does the pattern match somewhere in the text?
    fn is_found(&self, py: Python<'_>, text: &str) -> bool {
        py.detach(|| self.0.is_match(text))
    }
}

pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<LinearPattern>()
}
