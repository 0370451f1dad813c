//! Python face of `stategpt-tokenizer`. The interpreter is let go for any text long enough to be worth it.

mod trainer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyDict, PyString};
use stategpt_tokenizer as tokenizer;
use stategpt_tokenizer::{Cutter, Fault, Ragged, Reading, Special, TokenizerError};

use crate::errors::typed;

/// Below this many bytes (or ids) a call is over sooner than the interpreter is let go and taken back.
const WORTH_DETACHING: usize = 4096;

type Ids<'py> = Bound<'py, PyArray1<u32>>;
type Offsets<'py> = Bound<'py, PyArray1<u64>>;

/// The class of `stategpt.errors` for each kind of failure.
pub(crate) fn error(error: TokenizerError) -> PyErr {
    let class = match error {
        TokenizerError::UnknownPattern { .. }
        | TokenizerError::BadPattern { .. }
        | TokenizerError::VocabularyTooSmall { .. }
        | TokenizerError::BadSpecialToken { .. }
        | TokenizerError::UnknownSpecialToken { .. }
        | TokenizerError::BadOffsets { .. } => "InvalidArgument",
        TokenizerError::UnknownToken { .. } => "UnknownToken",
        TokenizerError::PatternSteps { .. } => "PatternLimit",
        TokenizerError::Format { fault: Fault::Malformed, .. } => "TokenizerFormatError",
        TokenizerError::Format { fault: Fault::Unsupported, .. } => "TokenizerUnsupported",
        TokenizerError::Io { .. } => "StorageError",
        TokenizerError::NotUtf8 { .. } | TokenizerError::Corpus { .. } => "CorpusError",
    };
    typed(class, error.to_string())
}

/// Runs `work`, without the interpreter if its input is large.
fn run<T: Send>(py: Python<'_>, size: usize, work: impl FnOnce() -> T + Send) -> T {
    if size < WORTH_DETACHING {
        work()
    } else {
        py.detach(work)
    }
}

fn mode(allow_special: bool) -> Special {
    if allow_special {
        Special::Allow
    } else {
        Special::Text
    }
}

/// The UTF-8 of a string, which one with a lone surrogate does not have.
fn utf8<'t>(text: &'t Bound<'_, PyString>) -> PyResult<&'t str> {
    text.to_str().map_err(|reason| not_text(&reason))
}

fn not_text(reason: &PyErr) -> PyErr {
    let message = format!(
        "text is not valid Unicode ({reason}); drop lone surrogates, or use encode_bytes for raw bytes"
    );
    typed("InvalidArgument", message)
}

/// Places in a piece are 32-bit numbers.
fn fitting(text: &[u8]) -> PyResult<&[u8]> {
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

/// The texts of a list, held without copying.
fn held(texts: &Bound<'_, PyAny>) -> PyResult<Vec<PyBackedStr>> {
    let hold = |(place, text): (usize, PyResult<Bound<'_, PyAny>>)| {
        let text = text?;
        let string = text.cast::<PyString>().map_err(|_| {
            let kind = text
                .get_type()
                .name()
                .map_or_else(|_| String::from("?"), |name| name.to_string());
            typed(
                "InvalidArgument",
                format!("text {place} is {kind}, not str; decode it first"),
            )
        })?;
        fitting(utf8(string)?.as_bytes())?;
        PyBackedStr::try_from(string.clone())
    };
    texts.try_iter()?.enumerate().map(hold).collect()
}

fn ragged(py: Python<'_>, ragged: Ragged) -> (Ids<'_>, Offsets<'_>) {
    (ragged.ids.into_pyarray(py), ragged.offsets.into_pyarray(py))
}

/// The engine. Immutable, so that threads may share it.
#[pyclass(frozen, module = "stategpt._native")]
pub struct Tokenizer(pub Arc<tokenizer::Tokenizer>);

impl Tokenizer {
    fn new(made: tokenizer::Result<tokenizer::Tokenizer>) -> PyResult<Self> {
        made.map(|made| Self(Arc::new(made))).map_err(error)
    }

    /// A Python number as an id.
    fn id(&self, id: &Bound<'_, PyAny>) -> PyResult<u32> {
        id.extract::<u32>()
            .map_err(|reason| match id.extract::<f64>() {
                Ok(_) => typed(
                    "UnknownToken",
                    format!(
                        "token id {id} is not in this vocabulary of {} ids",
                        self.0.vocab_size()
                    ),
                ),
                Err(_) => reason,
            })
    }
}

#[pymethods]
impl Tokenizer {
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        Self::new(py.detach(|| tokenizer::Tokenizer::load(&path)))
    }

    #[staticmethod]
    fn from_json(py: Python<'_>, json: &[u8]) -> PyResult<Self> {
        Self::new(py.detach(|| tokenizer::Tokenizer::from_json(json)))
    }

    #[staticmethod]
    fn from_tiktoken(
        py: Python<'_>,
        path: PathBuf,
        pattern: &str,
        special: Vec<(String, u32)>,
    ) -> PyResult<Self> {
        let cutter = Cutter::of(pattern).map_err(error)?;
        Self::new(py.detach(|| tokenizer::Tokenizer::from_tiktoken(&path, cutter, &special)))
    }

    fn to_json(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.to_json())
    }

    fn encode<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyString>,
        allow_special: bool,
    ) -> PyResult<Ids<'py>> {
        let text = fitting(utf8(text)?.as_bytes())?;
        let ids = run(py, text.len(), || self.0.encode(text, mode(allow_special)));
        Ok(ids.map_err(error)?.into_pyarray(py))
    }

    fn encode_bytes<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        allow_special: bool,
    ) -> PyResult<Ids<'py>> {
        let data = fitting(data)?;
        let ids = run(py, data.len(), || self.0.encode(data, mode(allow_special)));
        Ok(ids.map_err(error)?.into_pyarray(py))
    }

    fn pieces<'t>(&self, text: &'t Bound<'_, PyString>) -> PyResult<Vec<&'t str>> {
        let text = utf8(text)?;
        let mut pieces = Vec::new();
        let piece = |start, end| pieces.push(&text[start..end]);
        let cutter = &self.0.model().cutter;
        cutter.for_each_piece(text.as_bytes(), piece).map_err(error)?;
        Ok(pieces)
    }

    fn count(
        &self,
        py: Python<'_>,
        text: &Bound<'_, PyString>,
        allow_special: bool,
    ) -> PyResult<usize> {
        let text = fitting(utf8(text)?.as_bytes())?;
        run(py, text.len(), || self.0.count(text, mode(allow_special))).map_err(error)
    }

    fn encode_with_offsets<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyString>,
        allow_special: bool,
    ) -> PyResult<(Ids<'py>, Offsets<'py>)> {
        let text = fitting(utf8(text)?.as_bytes())?;
        let (ids, offsets) = run(py, text.len(), || {
            self.0.encode_with_offsets(text, mode(allow_special))
        })
        .map_err(error)?;
        Ok((ids.into_pyarray(py), offsets.into_pyarray(py)))
    }

    fn encode_batch<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        allow_special: bool,
        threads: Option<usize>,
    ) -> PyResult<(Ids<'py>, Offsets<'py>)> {
        let texts = held(texts)?;
        let encoded = py.detach(|| self.0.encode_batch(&texts, mode(allow_special), threads));
        encoded.map(|encoded| ragged(py, encoded)).map_err(error)
    }

    fn encode_files<'py>(
        &self,
        py: Python<'py>,
        paths: Vec<PathBuf>,
        allow_special: bool,
        lines: bool,
        replace: bool,
        threads: Option<usize>,
    ) -> PyResult<(Ids<'py>, Offsets<'py>)> {
        let reading = Reading { lines, replace };
        let encoded = py.detach(|| {
            self.0
                .encode_files(&paths, mode(allow_special), reading, threads)
        });
        encoded.map(|encoded| ragged(py, encoded)).map_err(error)
    }

    fn decode(
        &self,
        py: Python<'_>,
        ids: PyReadonlyArray1<'_, u32>,
        skip_special: bool,
    ) -> PyResult<String> {
        let ids = ids.as_slice()?;
        run(py, ids.len(), || self.0.decode_text(ids, skip_special)).map_err(error)
    }

    fn decode_bytes<'py>(
        &self,
        py: Python<'py>,
        ids: PyReadonlyArray1<'_, u32>,
        skip_special: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let ids = ids.as_slice()?;
        let bytes = run(py, ids.len(), || self.0.decode(ids, skip_special)).map_err(error)?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn decode_batch(
        &self,
        py: Python<'_>,
        ids: PyReadonlyArray1<'_, u32>,
        offsets: PyReadonlyArray1<'_, u64>,
        skip_special: bool,
    ) -> PyResult<Vec<String>> {
        let (ids, offsets) = (ids.as_slice()?, offsets.as_slice()?);
        py.detach(|| self.0.decode_batch(ids, offsets, skip_special))
            .map_err(error)
    }

    fn token_bytes<'py>(
        &self,
        py: Python<'py>,
        id: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(
            py,
            self.0.token_bytes(self.id(id)?).map_err(error)?,
        ))
    }

    fn special_id(&self, text: &str) -> PyResult<u32> {
        self.0.special_id(text).map_err(error)
    }

    #[getter]
    fn special_tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let tokens = PyDict::new(py);
        self.0
            .model()
            .added
            .iter()
            .try_for_each(|token| tokens.set_item(&token.content, token.id))?;
        Ok(tokens)
    }

    #[getter]
    fn vocab_size(&self) -> usize {
        self.0.vocab_size()
    }

    #[getter]
    fn pattern(&self) -> String {
        self.0.model().cutter.name()
    }

    #[getter]
    fn fingerprint(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.fingerprint().to_owned())
    }
}

/// Decodes id by id. Not for several threads at once: a lock keeps them in turn.
#[pyclass(frozen, module = "stategpt._native")]
pub struct StreamDecoder {
    tokenizer: Py<Tokenizer>,
    state: Mutex<tokenizer::StreamDecoder>,
}

#[pymethods]
impl StreamDecoder {
    #[new]
    fn new(tokenizer: Py<Tokenizer>) -> Self {
        Self {
            tokenizer,
            state: Mutex::default(),
        }
    }

    fn push(&self, id: &Bound<'_, PyAny>) -> PyResult<String> {
        let tokenizer = self.tokenizer.get();
        let id = tokenizer.id(id)?;
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(&tokenizer.0, id)
            .map_err(error)
    }

    fn finish(&self) -> String {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .finish()
    }
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Tokenizer>()?;
    module.add_class::<StreamDecoder>()?;
    module.add_class::<trainer::BpeTrainer>()
}
