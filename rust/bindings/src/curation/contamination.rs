//! Evaluation items in documents.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use stategpt_curation::contamination::{Leak, LeakFinder as Finder, LeakRule, LeakRules};

use super::duplicates::borrowed;
use super::errors::to_error;

/// First byte, and byte after the last.
type Span = (usize, usize);
/// Item, rule, span, answer's span, matched words and coverage of a leak.
type LeakFields = (u32, &'static str, Span, Option<Span>, usize, f64);

/// Evaluation items that documents are searched for; see `_native.pyi`.
#[pyclass(frozen, module = "stategpt._native")]
struct LeakFinder(Finder);

#[pymethods]
impl LeakFinder {
    #[new]
    fn new(
        py: Python<'_>,
        items: Vec<(String, Option<String>)>,
        min_coverage: f64,
        answer_distance: usize,
        verbatim_words: usize,
    ) -> PyResult<Self> {
        let rules = LeakRules {
            min_coverage,
            answer_distance,
            verbatim_words,
        };
        let finder = py.detach(|| Finder::new(&items, rules));
        Ok(Self(finder.map_err(to_error)?))
    }

    fn find(
        &self,
        py: Python<'_>,
        texts: Vec<PyBackedStr>,
        threads: usize,
    ) -> Vec<Vec<LeakFields>> {
        let found = py.detach(|| self.0.find_in(&borrowed(&texts), threads));
        let of_text = |leaks: Vec<Leak>| leaks.iter().map(fields).collect();
        found.into_iter().map(of_text).collect()
    }

    #[getter]
    fn unsearchable(&self) -> Vec<u32> {
        self.0.unsearchable()
    }
}

fn fields(leak: &Leak) -> LeakFields {
    let rule = match leak.rule {
        LeakRule::PromptAndAnswer => "prompt_and_answer",
        LeakRule::Verbatim => "verbatim",
    };
    (
        leak.item,
        rule,
        leak.span,
        leak.answer,
        leak.matched_words,
        leak.coverage,
    )
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<LeakFinder>()
}
