//! The Python class over the tokenizer.

use std::path::PathBuf;
use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use stategpt_tokenizer as tokenizer;
use stategpt_tokenizer::{CancelFlag, PreTokenizer, Reading, Result, Special};

use super::errors::error;
use super::ids::{IdArray, Ids, Offsets, array, bytes as bytes_of, id_of, ragged, text as text_of};
use super::text::{Part, bytes_in, content, fitting, held, kind, mode, natural, utf8};
use crate::errors::typed;
use crate::waiting::{self, MIN_DETACHED};

fn by_size<T: Send>(
    py: Python<'_>,
    size: usize,
    work: impl FnOnce(&CancelFlag) -> Result<T> + Send,
) -> PyResult<T> {
    waiting::by_size(py, size, work, error)
}

fn detached(
    py: Python<'_>,
    work: impl FnOnce() -> Result<tokenizer::Tokenizer> + Send + 'static,
) -> PyResult<Tokenizer> {
    waiting::detached(py, work, error).map(|made| Tokenizer(Arc::new(made)))
}

/// The engine. Immutable, so that threads may share it; `stategpt.Tokenizer` adds what is simpler in Python.
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
        if text.len() < MIN_DETACHED {
            let copied = |ids: &[u32]| PyArray1::from_slice(py, ids);
            return self.0.encode_with(text, special, copied).map_err(error);
        }
        let ids = by_size(py, self.work(text.len()), |stop| {
            self.0.encode_until(text, special, stop)
        })?;
        Ok(array(py, ids))
    }

    /// The size of a text for [`by_size`]: regular expressions may take long on a short one, too.
    fn work(&self, bytes: usize) -> usize {
        match self.0.model().pre_tokenizer {
            PreTokenizer::Steps(_) if bytes >= MIN_DETACHED => usize::MAX,
            _ => bytes,
        }
    }

    fn decoded(&self, py: Python<'_>, ids: &[u32], skip_special: bool) -> PyResult<Vec<u8>> {
        if ids.len() < MIN_DETACHED {
            return self.0.decode(ids, skip_special).map_err(error);
        }
        by_size(py, ids.len(), |stop| {
            self.0.decode_until(ids, skip_special, stop)
        })
    }
}

#[pymethods]
impl Tokenizer {
    /// Shares the engine; for subclasses.
    #[new]
    fn new(engine: &Bound<'_, Self>) -> Self {
        Self(engine.get().0.clone())
    }

    #[staticmethod]
    #[pyo3(name = "_load")]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        detached(py, move || tokenizer::Tokenizer::load(&path))
    }

    #[staticmethod]
    #[pyo3(name = "_from_json")]
    fn from_json(py: Python<'_>, json: PyBackedBytes) -> PyResult<Self> {
        detached(py, move || tokenizer::Tokenizer::from_json(&json))
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
        detached(py, work)
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
    ///     max_tokens: at most this many ids; the rest of the text is not encoded.
    ///
    /// Raises:
    ///     InvalidArgument: the text is not a str, or contains a lone surrogate.
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
        let ids = by_size(py, size, |stop| {
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
        by_size(py, self.work(text.len()), |stop| {
            self.0.pre_tokens(text, stop)
        })
    }

    /// The number of ids that `encode` gives.
    #[pyo3(signature = (text, *, special = "text"))]
    fn count(&self, py: Python<'_>, text: &Bound<'_, PyAny>, special: &str) -> PyResult<usize> {
        let (text, special) = (fitting(utf8(text)?.as_bytes())?, mode(special)?);
        if text.len() < MIN_DETACHED {
            return self.0.count(text, special).map_err(error);
        }
        by_size(py, self.work(text.len()), |stop| {
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
        let (ids, offsets) = by_size(py, text.len(), |stop| {
            self.0.encode_with_offsets(text, special, stop)
        })?;
        Ok((array(py, ids), offsets.into_pyarray(py)))
    }

    /// Ids [n] and spans [n, 2]: token i is in the characters `spans[i, 0] : spans[i, 1]` of the text. Tokens that share a
    /// character all contain it.
    #[pyo3(signature = (text, *, special = "text"))]
    fn encode_with_spans<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
        special: &str,
    ) -> PyResult<(IdArray<'py>, Bound<'py, PyArray2<u64>>)> {
        let (text, special) = (fitting(utf8(text)?.as_bytes())?, mode(special)?);
        let (ids, spans) = by_size(py, text.len(), |stop| {
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
        let ids = by_size(py, self.work(bytes), |stop| {
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
        let counted = by_size(py, self.work(bytes_in(&texts)), |stop| {
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
        let encoded = by_size(py, self.work(bytes_in(&texts)), |stop| {
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
        // The size of the files is not known yet.
        let encoded = by_size(py, usize::MAX, |stop| {
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
        let (bytes, ends) = by_size(py, ids.len(), |stop| {
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
    ///     InvalidArgument: there is no such special token; the message lists the existing ones.
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
