//! Texts and numbers as Python passes them, checked.

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyString;
use stategpt_tokenizer::Special;

use crate::errors::typed;

/// The mode named `text`, `unflagged` or `allow`.
pub fn mode(special: &str) -> PyResult<Special> {
    match special {
        "text" => Ok(Special::Text),
        "unflagged" => Ok(Special::Unflagged),
        "allow" => Ok(Special::Allow),
        other => Err(typed(
            "InvalidArgument",
            format!("special is '{other}'; choose one of text, unflagged, allow"),
        )),
    }
}

/// The UTF-8 of a string; a string with a lone surrogate has none.
pub(super) fn utf8<'t>(text: &'t Bound<'_, PyAny>) -> PyResult<&'t str> {
    let string = text.cast::<PyString>().map_err(|_| {
        let remedy = "pass str; raw bytes go to encode_bytes, several texts to encode_batch";
        let message = format!("text is of type {}, not str; {remedy}", kind(text));
        typed("InvalidArgument", message)
    })?;
    string.to_str().map_err(|reason| not_text(&reason))
}

/// The name of a value's type.
pub(super) fn kind(value: &Bound<'_, PyAny>) -> String {
    value
        .get_type()
        .name()
        .map_or_else(|_| String::from("?"), |name| name.to_string())
}

fn not_text(reason: &PyErr) -> PyErr {
    let message = format!(
        "text is not valid Unicode ({reason}); drop lone surrogates, or use encode_bytes for raw bytes"
    );
    typed("InvalidArgument", message)
}

/// Refuses a text whose byte offsets do not fit in 32 bits.
pub(super) fn fitting(text: &[u8]) -> PyResult<&[u8]> {
    if text.len() < u32::MAX as usize {
        return Ok(text);
    }
    Err(typed(
        "InvalidArgument",
        format!(
            "one text has {} bytes, more than 4 GiB; split it",
            text.len()
        ),
    ))
}

/// A count passed by Python.
pub(super) fn natural(name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    value.extract().map_err(|reason: PyErr| {
        if reason.is_instance_of::<PyOverflowError>(value.py()) {
            let message = format!("{name} is {value}; it must be at least 0 and below 2**64");
            typed("InvalidArgument", message)
        } else {
            reason
        }
    })
}

/// The texts of a list, borrowed without copying.
pub(super) fn held(texts: &Bound<'_, PyAny>) -> PyResult<Vec<PyBackedStr>> {
    let hold = |(place, text): (usize, PyResult<Bound<'_, PyAny>>)| {
        let text = text?;
        let string = text.cast::<PyString>().map_err(|_| {
            typed(
                "InvalidArgument",
                format!("text {place} is {}, not str; decode it first", kind(&text)),
            )
        })?;
        fitting(utf8(&text)?.as_bytes())?;
        PyBackedStr::try_from(string.clone())
    };
    texts.try_iter()?.enumerate().map(hold).collect()
}

/// The string of a special token.
pub(super) fn content(text: &Bound<'_, PyAny>) -> PyResult<String> {
    let invalid = |problem: String| {
        typed(
            "InvalidArgument",
            format!("a special token is {problem}; pass valid Unicode"),
        )
    };
    let string = text.cast::<PyString>();
    let string = string.map_err(|_| invalid(format!("{}, not str", text.get_type())))?;
    let owned = string.to_str().map(str::to_owned);
    owned.map_err(|reason| invalid(format!("not valid Unicode ({reason})")))
}

pub(super) fn bytes_in(texts: &[PyBackedStr]) -> usize {
    texts.iter().map(|text| text.len()).sum()
}

/// A part of a template.
pub(super) enum Part {
    Text(PyBackedStr),
    Control(u32),
}

impl Part {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Control(_) => 1,
        }
    }

    /// A text, or the id of a control token.
    pub(super) fn borrowed(&self) -> Result<&[u8], u32> {
        match self {
            Self::Text(text) => Ok(text.as_bytes()),
            Self::Control(id) => Err(*id),
        }
    }
}
