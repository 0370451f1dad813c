//! Python face of `stategpt-tokenizer`. The interpreter is let go for any text long enough to be worth it.

mod ids;
mod stream;
mod trainer;
mod waiting;

use std::path::PathBuf;
use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::{PyMemoryError, PyOverflowError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use stategpt_tokenizer as tokenizer;
use stategpt_tokenizer::{Fault, PreTokenizer, Ragged, Reading, Special, TokenizerError};

use self::ids::{IdArray, Ids, array, bytes as bytes_of, id_of, text as text_of};
use self::waiting::{wait_apart, wait_for};
use crate::errors::typed;

/// Below this many bytes (or ids) a call is over sooner than the interpreter is let go and taken back.
const WORTH_DETACHING: usize = 4096;

type Offsets<'py> = Bound<'py, PyArray1<u64>>;

/// The class of `stategpt.errors` for each kind of failure.
pub(crate) fn error(error: TokenizerError) -> PyErr {
    let class = match error {
        TokenizerError::UnknownPattern { .. }
        | TokenizerError::BadPattern { .. }
        | TokenizerError::TooMany { .. }
        | TokenizerError::VocabularyTooSmall { .. }
        | TokenizerError::BadSpecialToken { .. }
        | TokenizerError::UnknownSpecialToken { .. }
        | TokenizerError::BadOffsets { .. } => "InvalidArgument",
        // Signals raise what their handlers raise; this is for who stops a call otherwise.
        TokenizerError::Interrupted | TokenizerError::TrainingInterrupted { .. } => "StategptError",
        TokenizerError::OutOfMemory { .. } => return PyMemoryError::new_err(error.to_string()),
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

/// What `special="text"`, `"unflagged"` or `"allow"` means.
pub(crate) fn mode(special: &str) -> PyResult<Special> {
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

/// The UTF-8 of a string, which one with a lone surrogate does not have.
fn utf8<'t>(text: &'t Bound<'_, PyAny>) -> PyResult<&'t str> {
    let string = text.cast::<PyString>().map_err(|_| {
        let remedy = "pass str; raw bytes go to encode_bytes, several texts to encode_batch";
        let message = format!("text is of type {}, not str; {remedy}", kind(text));
        typed("InvalidArgument", message)
    })?;
    string.to_str().map_err(|reason| not_text(&reason))
}

/// The name of a value's type.
fn kind(value: &Bound<'_, PyAny>) -> String {
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

/// The text of a special token.
fn content(text: &Bound<'_, PyAny>) -> PyResult<String> {
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

fn bytes_in(texts: &[PyBackedStr]) -> usize {
    texts.iter().map(|text| text.len()).sum()
}

fn ragged(py: Python<'_>, ragged: Ragged) -> (IdArray<'_>, Offsets<'_>) {
    (array(py, ragged.ids), ragged.offsets.into_pyarray(py))
}

/// A part of a template.
enum Part {
    Text(PyBackedStr),
    Control(u32),
}

impl Part {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Control(_) => 1,
        }
    }

    /// A text, or the id of a control token.
    fn borrowed(&self) -> Result<&[u8], u32> {
        match self {
            Self::Text(text) => Ok(text.as_bytes()),
            Self::Control(id) => Err(*id),
        }
    }
}

/// The engine. Immutable, so that threads may share it; `stategpt.Tokenizer` adds to it what Python says better.
#[pyclass(frozen, subclass, module = "stategpt._native")]
pub struct Tokenizer(pub Arc<tokenizer::Tokenizer>);

impl Tokenizer {
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
        let ids = wait_for(py, self.work(text.len()), |stop| {
            self.0.encode_until(text, special, stop)
        })?;
        Ok(array(py, ids))
    }

    /// Bytes of a text as [`wait_for`] takes them: a short one may keep regular expressions busy, too.
    fn work(&self, bytes: usize) -> usize {
        match self.0.model().pre_tokenizer {
            PreTokenizer::Steps(_) if bytes >= WORTH_DETACHING => usize::MAX,
            _ => bytes,
        }
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
        wait_apart(py, move || tokenizer::Tokenizer::load(&path)).map(|made| Self(Arc::new(made)))
    }

    #[staticmethod]
    #[pyo3(name = "_from_json")]
    fn from_json(py: Python<'_>, json: PyBackedBytes) -> PyResult<Self> {
        wait_apart(py, move || tokenizer::Tokenizer::from_json(&json))
            .map(|made| Self(Arc::new(made)))
    }

    #[staticmethod]
    #[pyo3(name = "_from_tiktoken")]
    fn from_tiktoken(
        py: Python<'_>,
        path: PathBuf,
        pattern: &str,
        special: Vec<(Bound<'_, PyAny>, u32)>,
    ) -> PyResult<Self> {
        let pre_tokenizer = PreTokenizer::of(pattern).map_err(error)?;
        let special = special
            .iter()
            .map(|(text, id)| Ok((content(text)?, *id)))
            .collect::<PyResult<Vec<(String, u32)>>>()?;
        let work = move || tokenizer::Tokenizer::from_tiktoken(&path, pre_tokenizer, &special);
        wait_apart(py, work).map(|made| Self(Arc::new(made)))
    }

    #[pyo3(name = "_to_json")]
    fn to_json(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.to_json())
    }

    /// The ids of a text: uint32 [n].
    ///
    /// Args:
    ///     special: "text": text that spells an added token is text; "unflagged": it becomes the token unless that is
    ///         flagged special; "allow": it becomes the token.
    ///     max_tokens: only the first so many ids; what lies behind them is not encoded.
    ///
    /// Raises:
    ///     InvalidArgument: the text is no str, or holds a lone surrogate.
    #[pyo3(signature = (text, *, special = "text", max_tokens = None))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
        special: &str,
        max_tokens: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<IdArray<'py>> {
        let (text, special) = (utf8(text)?.as_bytes(), mode(special)?);
        let Some(most) = max_tokens else {
            return self.encoded(py, text, special);
        };
        let (text, most) = (fitting(text)?, natural("max_tokens", most)?);
        let size = match self.work(text.len()) {
            usize::MAX => usize::MAX,
            bytes => bytes.min(most),
        };
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
        data: &Bound<'py, PyAny>,
        special: &str,
    ) -> PyResult<IdArray<'py>> {
        let bytes = data.cast::<PyBytes>().map_err(|_| {
            let message = format!(
                "data is of type {}, not bytes; text goes to encode",
                kind(data)
            );
            typed("InvalidArgument", message)
        })?;
        self.encoded(py, bytes.as_bytes(), mode(special)?)
    }

    /// What the pattern cuts a text into before merging; no token crosses a piece.
    fn pieces<'t>(&self, py: Python<'_>, text: &'t Bound<'_, PyAny>) -> PyResult<Vec<&'t str>> {
        let text = utf8(text)?;
        fitting(text.as_bytes())?;
        wait_for(py, self.work(text.len()), |stop| {
            self.0.pre_tokens(text, stop)
        })
    }

    /// How many ids `encode` gives.
    #[pyo3(signature = (text, *, special = "text"))]
    fn count(&self, py: Python<'_>, text: &Bound<'_, PyAny>, special: &str) -> PyResult<usize> {
        let (text, special) = (fitting(utf8(text)?.as_bytes())?, mode(special)?);
        if text.len() < WORTH_DETACHING {
            return self.0.count(text, special).map_err(error);
        }
        wait_for(py, self.work(text.len()), |stop| {
            self.0.count_until(text, special, stop)
        })
    }

    /// Ids [n] and byte offsets [n + 1]: token i is bytes `offsets[i] : offsets[i + 1]` of the text's UTF-8.
    #[pyo3(signature = (text, *, special = "text"))]
    fn encode_with_offsets<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
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
        text: &Bound<'py, PyAny>,
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
        let mut held = Vec::new();
        for segment in segments.try_iter()? {
            let segment = segment?;
            held.push(if let Ok(text) = segment.cast::<PyString>() {
                fitting(utf8(&segment)?.as_bytes())?;
                Part::Text(PyBackedStr::try_from(text.clone())?)
            } else {
                let id = id_of(&segment, self.0.vocab_size())?;
                self.0.token_bytes(id).map_err(error)?;
                Part::Control(id)
            });
        }
        let bytes = held.iter().map(Part::len).sum();
        let ids = wait_for(py, self.work(bytes), |stop| {
            self.0.encode_parts(held.iter().map(Part::borrowed), stop)
        })?;
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
        let counted = wait_for(py, self.work(bytes_in(&texts)), |stop| {
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
        let encoded = wait_for(py, self.work(bytes_in(&texts)), |stop| {
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
        text_of(py, &self.decoded(py, &ids, skip_special)?)
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
        bytes_of(py, &self.decoded(py, &ids, skip_special)?)
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
        let (ids, offsets): (&[u32], _) = (&ids, offsets.as_slice()?);
        let (bytes, ends) = wait_for(py, ids.len(), |stop| {
            self.0.decode_documents(ids, offsets, skip_special, stop)
        })?;
        let (texts, mut start) = (PyList::empty(py), 0);
        for end in ends {
            texts.append(text_of(py, &bytes[start..end])?)?;
            start = end;
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
        let token = self.0.token_bytes(id_of(id, self.0.vocab_size())?);
        bytes_of(py, token.map_err(error)?)
    }

    /// The id of a special token.
    ///
    /// Raises:
    ///     InvalidArgument: there is no such special token; the message lists those there are.
    fn special_id(&self, text: &Bound<'_, PyAny>) -> PyResult<u32> {
        self.0.special_id(utf8(text)?).map_err(error)
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
        self.0.model().pre_tokenizer.name()
    }

    /// `b3:` and the BLAKE3 of the saved form without its post-processor: equal only where all ids are equal.
    #[getter]
    fn fingerprint(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.fingerprint().into_owned())
    }
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // A child forked while another thread makes these tables would wait for them for ever.
    tokenizer::make_tables();
    module.add_class::<Tokenizer>()?;
    module.add_class::<stream::StreamDecoder>()?;
    module.add_class::<trainer::BpeTrainer>()
}
