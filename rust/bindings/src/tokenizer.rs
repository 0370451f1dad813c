//! Python face of `stategpt-tokenizer`. The interpreter is let go for any text long enough to be worth it.

mod ids;
mod stream;
mod trainer;
mod waiting;

use std::path::PathBuf;
use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use stategpt_tokenizer as tokenizer;
use stategpt_tokenizer::{Cutter, Fault, Ragged, Reading, Special, TokenizerError};

use self::ids::{IdArray, Ids, array, id_of, text as text_of};
use self::waiting::wait_for;
use crate::errors::typed;

/// Below this many bytes (or ids) a call is over sooner than the interpreter is let go and taken back.
const WORTH_DETACHING: usize = 4096;

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
        // Signals raise what their handlers raise; this is for who stops a call otherwise.
        TokenizerError::Interrupted | TokenizerError::TrainingInterrupted { .. } => "StategptError",
        TokenizerError::UnknownToken { .. } => "UnknownToken",
        TokenizerError::PatternSteps { .. } => "PatternLimit",
        TokenizerError::Format {
            fault: Fault::Malformed,
            ..
        } => "TokenizerFormatError",
        TokenizerError::Format {
            fault: Fault::Unsupported,
            ..
        } => "TokenizerUnsupported",
        TokenizerError::Io { .. } => "StorageError",
        TokenizerError::NotUtf8 { .. }
        | TokenizerError::Corpus { .. }
        | TokenizerError::MemoryLimit { .. } => "CorpusError",
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

/// What `special="text"` or `"allow"` means.
fn mode(special: &str) -> PyResult<Special> {
    match special {
        "text" => Ok(Special::Text),
        "allow" => Ok(Special::Allow),
        other => Err(typed(
            "InvalidArgument",
            format!("special is '{other}'; choose one of text, allow"),
        )),
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

/// A count that Python gave.
fn natural(name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    value.extract().map_err(|reason: PyErr| {
        if reason.is_instance_of::<PyOverflowError>(value.py()) {
            let message = format!("{name} is {value}; it must be at least 0 and below 2**64");
            typed("InvalidArgument", message)
        } else {
            reason
        }
    })
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

fn bytes_in(texts: &[PyBackedStr]) -> usize {
    texts.iter().map(|text| text.len()).sum()
}

fn ragged(py: Python<'_>, ragged: Ragged) -> (IdArray<'_>, Offsets<'_>) {
    (array(py, ragged.ids), ragged.offsets.into_pyarray(py))
}

/// The engine. Immutable, so that threads may share it; `stategpt.Tokenizer` adds to it what Python says better.
#[pyclass(frozen, subclass, module = "stategpt._native")]
pub struct Tokenizer(pub Arc<tokenizer::Tokenizer>);

impl Tokenizer {
    fn made(made: tokenizer::Result<tokenizer::Tokenizer>) -> PyResult<Self> {
        made.map(|made| Self(Arc::new(made))).map_err(error)
    }

    fn encoded<'py>(
        &self,
        py: Python<'py>,
        text: &[u8],
        special: Special,
    ) -> PyResult<IdArray<'py>> {
        let text = fitting(text)?;
        if text.len() < WORTH_DETACHING {
            let copied = |ids: &[u32]| PyArray1::from_slice(py, ids);
            return self.0.encode_with(text, special, copied).map_err(error);
        }
        let ids = wait_for(py, text.len(), |stop| {
            self.0.encode_until(text, special, stop)
        })?;
        Ok(array(py, ids))
    }

    fn decoded(&self, py: Python<'_>, ids: &[u32], skip_special: bool) -> PyResult<Vec<u8>> {
        if ids.len() < WORTH_DETACHING {
            return self.0.decode(ids, skip_special).map_err(error);
        }
        wait_for(py, ids.len(), |stop| {
            self.0.decode_until(ids, skip_special, stop)
        })
    }
}

#[pymethods]
impl Tokenizer {
    /// The same engine: what a subclass is made of.
    #[new]
    fn new(engine: &Bound<'_, Self>) -> Self {
        Self(engine.get().0.clone())
    }

    #[staticmethod]
    #[pyo3(name = "_load")]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        Self::made(py.detach(|| tokenizer::Tokenizer::load(&path)))
    }

    #[staticmethod]
    #[pyo3(name = "_from_json")]
    fn from_json(py: Python<'_>, json: &[u8]) -> PyResult<Self> {
        Self::made(py.detach(|| tokenizer::Tokenizer::from_json(json)))
    }

    #[staticmethod]
    #[pyo3(name = "_from_tiktoken")]
    fn from_tiktoken(
        py: Python<'_>,
        path: PathBuf,
        pattern: &str,
        special: Vec<(String, u32)>,
    ) -> PyResult<Self> {
        let cutter = Cutter::of(pattern).map_err(error)?;
        Self::made(py.detach(|| tokenizer::Tokenizer::from_tiktoken(&path, cutter, &special)))
    }

    #[pyo3(name = "_to_json")]
    fn to_json(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.to_json())
    }

    /// The ids of a text: uint32 [n].
    ///
    /// Args:
    ///     special: "text": text that spells a special token is text; "allow": it becomes the token.
    ///     max_tokens: only the first so many ids; what lies behind them is not encoded.
    ///
    /// Raises:
    ///     InvalidArgument: the text holds a lone surrogate.
    #[pyo3(signature = (text, *, special = "text", max_tokens = None))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyString>,
        special: &str,
        max_tokens: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<IdArray<'py>> {
        let (text, special) = (utf8(text)?.as_bytes(), mode(special)?);
        let Some(most) = max_tokens else {
            return self.encoded(py, text, special);
        };
        let (text, most) = (fitting(text)?, natural("max_tokens", most)?);
        let size = text.len().min(most);
        let ids = wait_for(py, size, |stop| {
            self.0.encode_at_most(text, special, most, stop)
        })?;
        Ok(array(py, ids))
    }

    /// The ids of any bytes, UTF-8 or not; `decode_bytes` gives them back.
    #[pyo3(signature = (data, *, special = "text"))]
    fn encode_bytes<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        special: &str,
    ) -> PyResult<IdArray<'py>> {
        self.encoded(py, data, mode(special)?)
    }

    /// What the pattern cuts a text into before merging; no token crosses a piece.
    fn pieces<'t>(&self, text: &'t Bound<'_, PyString>) -> PyResult<Vec<&'t str>> {
        let text = utf8(text)?;
        let mut pieces = Vec::new();
        let piece = |start, end| pieces.push(&text[start..end]);
        let cutter = &self.0.model().cutter;
        cutter
            .for_each_piece(text.as_bytes(), piece)
            .map_err(error)?;
        Ok(pieces)
    }

    /// How many ids `encode` gives.
    #[pyo3(signature = (text, *, special = "text"))]
    fn count(&self, py: Python<'_>, text: &Bound<'_, PyString>, special: &str) -> PyResult<usize> {
        let (text, special) = (fitting(utf8(text)?.as_bytes())?, mode(special)?);
        if text.len() < WORTH_DETACHING {
            return self.0.count(text, special).map_err(error);
        }
        wait_for(py, text.len(), |stop| {
            self.0.count_until(text, special, stop)
        })
    }

    /// Ids [n] and byte offsets [n + 1]: token i is bytes `offsets[i] : offsets[i + 1]` of the text's UTF-8.
    #[pyo3(signature = (text, *, special = "text"))]
    fn encode_with_offsets<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyString>,
        special: &str,
    ) -> PyResult<(IdArray<'py>, Offsets<'py>)> {
        let (text, special) = (fitting(utf8(text)?.as_bytes())?, mode(special)?);
        let (ids, offsets) = wait_for(py, text.len(), |stop| {
            self.0.encode_with_offsets(text, special, stop)
        })?;
        Ok((array(py, ids), offsets.into_pyarray(py)))
    }

    /// Ids [n] and spans [n, 2]: token i lies in the characters `spans[i, 0] : spans[i, 1]` of the text, whole ones: tokens
    /// that share a character all have it.
    #[pyo3(signature = (text, *, special = "text"))]
    fn encode_with_spans<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyString>,
        special: &str,
    ) -> PyResult<(IdArray<'py>, Bound<'py, PyArray2<u64>>)> {
        let (text, special) = (fitting(utf8(text)?.as_bytes())?, mode(special)?);
        let (ids, spans) = wait_for(py, text.len(), |stop| {
            self.0.encode_with_spans(text, special, stop)
        })?;
        let shape = [ids.len(), 2];
        let spans = spans.into_flattened().into_pyarray(py).reshape(shape)?;
        Ok((array(py, ids), spans))
    }

    #[pyo3(name = "_encode_segments")]
    fn encode_segments<'py>(
        &self,
        py: Python<'py>,
        segments: &Bound<'py, PyAny>,
    ) -> PyResult<IdArray<'py>> {
        let mut ids = Vec::new();
        for segment in segments.try_iter()? {
            let segment = segment?;
            if let Ok(text) = segment.cast::<PyString>() {
                let text = fitting(utf8(text)?.as_bytes())?;
                let append = |more: &[u32]| ids.extend_from_slice(more);
                run(py, text.len(), || {
                    self.0.encode_with(text, Special::Text, append)
                })
                .map_err(error)?;
            } else {
                let id = id_of(&segment, self.0.vocab_size())?;
                self.0.token_bytes(id).map_err(error)?;
                ids.push(id);
            }
        }
        Ok(array(py, ids))
    }

    #[pyo3(name = "_count_batch")]
    fn count_batch<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        special: &str,
        threads: Option<usize>,
    ) -> PyResult<Offsets<'py>> {
        let (texts, special) = (held(texts)?, mode(special)?);
        let counted = wait_for(py, bytes_in(&texts), |stop| {
            self.0.count_batch(&texts, special, threads, stop)
        })?;
        Ok(counted.into_pyarray(py))
    }

    #[pyo3(name = "_encode_batch")]
    fn encode_batch<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        special: &str,
        threads: Option<usize>,
    ) -> PyResult<(IdArray<'py>, Offsets<'py>)> {
        let (texts, special) = (held(texts)?, mode(special)?);
        let encoded = wait_for(py, bytes_in(&texts), |stop| {
            self.0.encode_batch_until(&texts, special, threads, stop)
        })?;
        Ok(ragged(py, encoded))
    }

    #[pyo3(name = "_encode_files")]
    fn encode_files<'py>(
        &self,
        py: Python<'py>,
        paths: Vec<PathBuf>,
        special: &str,
        lines: bool,
        replace: bool,
        threads: Option<usize>,
    ) -> PyResult<(IdArray<'py>, Offsets<'py>)> {
        let (reading, special) = (Reading { lines, replace }, mode(special)?);
        // What files hold is not known yet.
        let encoded = wait_for(py, usize::MAX, |stop| {
            self.0.encode_files(&paths, special, reading, threads, stop)
        })?;
        Ok(ragged(py, encoded))
    }

    /// The text of ids; bytes that are not UTF-8 become U+FFFD (`decode_bytes` keeps them).
    ///
    /// Args:
    ///     ids: a list, or an array of integers in one dimension.
    ///     skip_special: leave special tokens out.
    ///
    /// Raises:
    ///     UnknownToken: an id outside the vocabulary.
    #[pyo3(signature = (ids, *, skip_special = false))]
    fn decode<'py>(
        &self,
        py: Python<'py>,
        ids: &Bound<'py, PyAny>,
        skip_special: bool,
    ) -> PyResult<Bound<'py, PyString>> {
        let ids = Ids::of(ids, self.0.vocab_size())?;
        Ok(text_of(py, &self.decoded(py, &ids, skip_special)?))
    }

    /// The bytes of ids, exactly.
    ///
    /// Raises:
    ///     UnknownToken: an id outside the vocabulary.
    #[pyo3(signature = (ids, *, skip_special = false))]
    fn decode_bytes<'py>(
        &self,
        py: Python<'py>,
        ids: &Bound<'py, PyAny>,
        skip_special: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let ids = Ids::of(ids, self.0.vocab_size())?;
        Ok(PyBytes::new(py, &self.decoded(py, &ids, skip_special)?))
    }

    #[pyo3(name = "_decode_batch")]
    fn decode_batch<'py>(
        &self,
        py: Python<'py>,
        ids: &Bound<'py, PyAny>,
        offsets: PyReadonlyArray1<'py, u64>,
        skip_special: bool,
    ) -> PyResult<Bound<'py, PyList>> {
        let ids = Ids::of(ids, self.0.vocab_size())?;
        let (texts, mut bytes) = (PyList::empty(py), Vec::new());
        for bounds in offsets.as_slice()?.windows(2) {
            let ids = tokenizer::document(&ids, bounds[0], bounds[1]).map_err(error)?;
            bytes.clear();
            let buffer = &mut bytes;
            run(py, ids.len(), || {
                self.0.decode_into(ids, skip_special, buffer)
            })
            .map_err(error)?;
            texts.append(text_of(py, &bytes))?;
        }
        Ok(texts)
    }

    /// The bytes of one token.
    ///
    /// Raises:
    ///     UnknownToken: an id outside the vocabulary.
    fn token_bytes<'py>(
        &self,
        py: Python<'py>,
        id: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(
            py,
            self.0
                .token_bytes(id_of(id, self.0.vocab_size())?)
                .map_err(error)?,
        ))
    }

    /// The id of a special token.
    ///
    /// Raises:
    ///     InvalidArgument: there is no such special token; the message lists those there are.
    fn special_id(&self, text: &str) -> PyResult<u32> {
        self.0.special_id(text).map_err(error)
    }

    /// Tokens that plain text never yields, with their ids, in order of id.
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

    /// One more than the largest id.
    #[getter]
    fn vocab_size(&self) -> usize {
        self.0.vocab_size()
    }

    /// Name of the pattern (llama3's is gpt4's).
    #[getter]
    fn pattern(&self) -> String {
        self.0.model().cutter.name()
    }

    /// `b3:` and the BLAKE3 of the saved form without its post-processor: equal only where all ids are equal.
    #[getter]
    fn fingerprint(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.fingerprint().into_owned())
    }
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Tokenizer>()?;
    module.add_class::<stream::StreamDecoder>()?;
    module.add_class::<trainer::BpeTrainer>()
}
