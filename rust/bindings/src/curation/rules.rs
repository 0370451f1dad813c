//! Cleaning and the quality rules.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyTuple};
use stategpt_curation::{
    Boilerplate, Error, Judge, LINE_RULES, Languages, Limit, LineCounter, RULES, Value, Verdict,
    clean, values,
};

use super::errors::to_error;
use crate::errors::typed;
use crate::waiting::cancellable;

/// What becomes of a text; see `_native.pyi`.
type Judged = (
    Option<String>,
    Option<&'static str>,
    Option<f64>,
    &'static str,
    Option<[u32; LINE_RULES.len()]>,
);

/// The steps that look at one text alone; see `_native.pyi`.
#[pyclass(frozen, module = "stategpt._native")]
struct CurationRules(Mutex<Judge>);

#[pymethods]
impl CurationRules {
    #[new]
    #[pyo3(signature = (thresholds, *, clean, languages, min_confidence))]
    fn new(
        thresholds: Vec<(String, f64)>,
        clean: bool,
        languages: Vec<String>,
        min_confidence: f64,
    ) -> PyResult<Self> {
        let languages = match languages.is_empty() {
            true => None,
            false => Some(Languages::new(&languages, min_confidence).map_err(to_error)?),
        };
        let judge = Judge::new(clean, &thresholds, languages).map_err(to_error)?;
        Ok(Self(Mutex::new(judge)))
    }

    fn apply(&self, py: Python<'_>, texts: Vec<PyBackedStr>) -> PyResult<Vec<Judged>> {
        let ask = |judge: &mut Judge, text: &str| -> Result<Judged, Error> {
            Ok(match judge.ask(text)? {
                Verdict::Kept(text, lines) => {
                    let changed = match text {
                        Cow::Borrowed(_) => None,
                        Cow::Owned(text) => Some(text),
                    };
                    let lines = lines.iter().any(|&count| count > 0).then_some(lines);
                    (changed, None, None, "", lines)
                }
                Verdict::Removed(rule, Value::Number(value)) => {
                    (None, Some(rule), Some(value), "", None)
                }
                Verdict::Removed(rule, Value::Language(language, value)) => {
                    (None, Some(rule), Some(value), language, None)
                }
            })
        };
        let work = |flag: &stategpt_tokenizer::CancelFlag| {
            let mut judge = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let mut judged = Vec::with_capacity(texts.len());
            for text in &texts {
                if flag.is_raised() {
                    break; // the handler's exception is what the caller gets
                }
                judged.push(ask(&mut judge, text)?);
            }
            Ok(judged)
        };
        cancellable(py, work, to_error)
    }
}

/// Counts lines by the documents of a source that have them; see `_native.pyi`.
#[pyclass(frozen, module = "stategpt._native")]
struct BoilerplateLines(Mutex<Boiler>);

enum Boiler {
    Counting(LineCounter),
    Found(Boilerplate),
}

#[pymethods]
impl BoilerplateLines {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(Boiler::Counting(LineCounter::default())))
    }

    fn estimate(&self, py: Python<'_>, source: &str, texts: Vec<PyBackedStr>) -> PyResult<()> {
        self.counting(py, |counter| {
            texts.iter().for_each(|text| counter.estimate(source, text))
        })
    }

    fn count(
        &self,
        py: Python<'_>,
        source: &str,
        texts: Vec<PyBackedStr>,
        least: u32,
    ) -> PyResult<()> {
        self.counting(py, |counter| {
            texts
                .iter()
                .for_each(|text| counter.count(source, text, least))
        })
    }

    /// Ends the counting; returns how many lines are boilerplate.
    fn finish(&self, py: Python<'_>) -> PyResult<usize> {
        let mut found = 0;
        self.counting(py, |counter| {
            let lines = std::mem::take(counter).boilerplate();
            found = lines.len();
            Some(lines)
        })
        .map(|lines| {
            if let Some(lines) = lines {
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Boiler::Found(lines);
            }
            found
        })
    }

    fn remove(
        &self,
        py: Python<'_>,
        source: &str,
        text: PyBackedStr,
    ) -> PyResult<Option<(String, u32)>> {
        py.detach(
            || match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
                Boiler::Found(lines) => Ok(lines.remove(source, &text)),
                Boiler::Counting(_) => Err(typed(
                    "InvalidArgument",
                    "call finish() before remove()".to_owned(),
                )),
            },
        )
    }
}

impl BoilerplateLines {
    fn counting<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut LineCounter) -> T + Send,
    ) -> PyResult<T> {
        py.detach(
            || match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
                Boiler::Counting(counter) => Ok(work(counter)),
                Boiler::Found(_) => Err(typed(
                    "InvalidArgument",
                    "the counting has ended; make another BoilerplateLines".to_owned(),
                )),
            },
        )
    }
}

#[pyfunction]
fn clean_text(py: Python<'_>, text: PyBackedStr) -> String {
    py.detach(|| clean(&text).into_owned())
}

#[pyfunction]
fn compress_zstd(py: Python<'_>, data: PyBackedBytes) -> Bound<'_, PyBytes> {
    let frame = py.detach(|| stategpt_lines::zstd_frame(&data));
    PyBytes::new(py, &frame)
}

#[pyfunction]
fn rule_values(py: Python<'_>, text: PyBackedStr) -> PyResult<BTreeMap<&'static str, f64>> {
    let found = py.detach(|| values(&text)).map_err(to_error)?;
    Ok(found.into_iter().collect())
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let limit = |limit| match limit {
        Limit::AtLeast => "at_least",
        Limit::AtMost => "at_most",
        Limit::Switch => "switch",
    };
    let rules = RULES
        .iter()
        .map(|rule| (rule.name, limit(rule.limit), rule.threshold, rule.meaning));
    module.add("CURATION_RULES", PyTuple::new(module.py(), rules)?)?;
    module.add(
        "CURATION_LINE_RULES",
        PyTuple::new(module.py(), LINE_RULES)?,
    )?;
    module.add_class::<CurationRules>()?;
    module.add_class::<BoilerplateLines>()?;
    module.add_function(wrap_pyfunction!(clean_text, module)?)?;
    module.add_function(wrap_pyfunction!(compress_zstd, module)?)?;
    module.add_function(wrap_pyfunction!(rule_values, module)?)
}
