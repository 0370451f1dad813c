//! Python face of `stategpt-ranking`: a whole source at once, in columns.

use std::io::{self, BufRead, BufReader, Read};

use numpy::{PyArray1, PyReadonlyArray1, ToPyArray};
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use stategpt_ranking::{Arrangement, Batch, Error, Outcome, Reader, TokenGroup, arrange};

use crate::errors::typed;

/// Where a record stood and why it was not taken: line, byte offset, code, message.
type RejectedRow = (u64, u64, &'static str, String);

/// The records of one source in columns; see `_native.pyi`.
#[pyclass(frozen, module = "stategpt._native")]
#[derive(Default)]
pub struct RankingTable {
    /// Ids of the groups.
    #[pyo3(get)]
    ids: Vec<String>,
    /// Their prompts.
    #[pyo3(get)]
    prompts: Vec<String>,
    /// Line of each group.
    #[pyo3(get)]
    lines: Vec<u64>,
    /// Byte at which that line starts.
    #[pyo3(get)]
    byte_offsets: Vec<u64>,
    /// All completions, group after group.
    #[pyo3(get)]
    texts: Vec<String>,
    /// Whether each completion ended.
    #[pyo3(get)]
    ended: Vec<bool>,
    /// Fingerprint of the tokenizer of each group's ids.
    #[pyo3(get)]
    tokenizers: Vec<Option<String>>,
    /// What was not taken.
    #[pyo3(get)]
    rejected: Vec<RejectedRow>,
    /// Lines of the source.
    #[pyo3(get)]
    line_count: u64,
    /// Blank ones among them.
    #[pyo3(get)]
    blank_count: u64,
    ranks: Vec<u32>,
    completion_offsets: Vec<u64>,
    token_ids: Vec<u32>,
    token_offsets: Vec<u64>,
    pairs: Vec<u32>,
    pair_offsets: Vec<u64>,
}

#[pymethods]
impl RankingTable {
    #[getter]
    fn ranks<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        self.ranks.to_pyarray(py)
    }

    #[getter]
    fn completion_offsets<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        self.completion_offsets.to_pyarray(py)
    }

    #[getter]
    fn token_ids<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        self.token_ids.to_pyarray(py)
    }

    #[getter]
    fn token_offsets<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        self.token_offsets.to_pyarray(py)
    }

    #[getter]
    fn pairs<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        self.pairs.to_pyarray(py)
    }

    #[getter]
    fn pair_offsets<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        self.pair_offsets.to_pyarray(py)
    }
}

impl RankingTable {
    fn read(source: impl BufRead) -> Result<Self, Error> {
        let mut reader = Reader::new(source);
        let mut table = Self {
            completion_offsets: vec![0],
            token_offsets: vec![0],
            pair_offsets: vec![0],
            ..Self::default()
        };
        for outcome in reader.by_ref() {
            table.push(outcome?);
        }
        let summary = reader.summary();
        (table.line_count, table.blank_count) = (summary.lines, summary.blank);
        Ok(table)
    }

    fn push(&mut self, outcome: Outcome) {
        let (line, byte_offset, group) = match outcome {
            Outcome::Kept {
                line,
                byte_offset,
                group,
            } => (line, byte_offset, group),
            Outcome::Rejected(r) => {
                self.rejected.push((
                    r.line,
                    r.byte_offset,
                    r.problem.code(),
                    r.problem.to_string(),
                ));
                return;
            }
        };
        self.pairs.extend(group.pairs().iter().flatten());
        self.pair_offsets.push(self.pairs.len() as u64 / 2);
        self.lines.push(line);
        self.byte_offsets.push(byte_offset);
        self.ids.push(group.id);
        self.prompts.push(group.prompt);
        self.tokenizers.push(group.tokenizer);
        for completion in group.completions {
            self.texts.push(completion.text);
            self.ranks.push(completion.rank);
            self.ended.push(completion.ended);
            self.token_ids.extend(completion.ids.unwrap_or_default());
            self.token_offsets.push(self.token_ids.len() as u64);
        }
        self.completion_offsets.push(self.texts.len() as u64);
    }
}

/// A batch's vectors in the order of `_native.pyi`.
type BatchArrays<'py> = (
    Bound<'py, PyArray1<u32>>,
    [Bound<'py, PyArray1<i32>>; 4],
    Bound<'py, PyArray1<i64>>,
    usize,
    usize,
);

fn to_error(error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        // What the stream's own `read` raised comes out as it is.
        Error::Io { source, .. } => source
            .downcast::<PyErr>()
            .unwrap_or_else(|_| typed("StorageError", message)),
        Error::EmptyGroup { .. } | Error::BatchTooLarge { .. } => typed("InvalidArgument", message),
        Error::Layout(error) => crate::layout::error(error),
        Error::OutOfMemory { .. } => PyMemoryError::new_err(message),
    }
}

/// A Python function that gives up to so many bytes.
struct Stream(Py<PyAny>);

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = Python::attach(|py| -> PyResult<usize> {
            let read = self.0.bind(py).call1((buffer.len(),))?;
            let bytes: PyBackedBytes = read.extract()?;
            let Some(start) = buffer.get_mut(..bytes.len()) else {
                let message = format!("read({}) gave {} bytes", buffer.len(), bytes.len());
                return Err(typed("StorageError", message));
            };
            start.copy_from_slice(&bytes);
            Ok(bytes.len())
        });
        read.map_err(io::Error::other)
    }
}

#[pyfunction]
fn read_rankings(py: Python<'_>, read: Py<PyAny>) -> PyResult<RankingTable> {
    // Between reads other threads go on, and signals are seen in that function.
    py.detach(|| RankingTable::read(BufReader::with_capacity(1 << 20, Stream(read))))
        .map_err(to_error)
}

#[pyfunction]
fn parse_rankings(py: Python<'_>, text: &[u8]) -> PyResult<RankingTable> {
    py.detach(|| RankingTable::read(text)).map_err(to_error)
}

#[pyfunction]
fn arrange_rankings<'py>(
    py: Python<'py>,
    ids: PyReadonlyArray1<'py, u32>,
    offsets: PyReadonlyArray1<'py, u64>,
    completions: Vec<u32>,
    arrange: &str,
    reward: u32,
    pad: u32,
) -> PyResult<BatchArrays<'py>> {
    let arrangement = match arrange {
        "rows" => Arrangement::Rows,
        "shared_prefix" => Arrangement::SharedPrefix,
        other => {
            let message = format!("arrange is {other:?}; it is \"rows\" or \"shared_prefix\"");
            return Err(typed("InvalidArgument", message));
        }
    };
    let batch = arrange_pieces(
        ids.as_slice()?,
        offsets.as_slice()?,
        &completions,
        arrangement,
        reward,
        pad,
    )?;
    Ok(batch_arrays(py, &batch))
}

fn batch_arrays<'py>(py: Python<'py>, batch: &Batch) -> BatchArrays<'py> {
    let layout = [
        &batch.layout.segments.segment_start,
        &batch.layout.prefix_end,
        &batch.layout.branch_start,
        &batch.layout.segments.position,
    ];
    (
        batch.tokens.to_pyarray(py),
        layout.map(|vector| vector.to_pyarray(py)),
        batch.reward_index.to_pyarray(py),
        batch.row_tokens,
        batch.token_count,
    )
}

/// Cuts the flat ids into groups (prompt, then its completions) and lays them out.
fn arrange_pieces(
    ids: &[u32],
    offsets: &[u64],
    completions: &[u32],
    arrangement: Arrangement,
    reward: u32,
    pad: u32,
) -> PyResult<Batch> {
    let wanted = completions
        .iter()
        .map(|&count| count as usize + 1)
        .sum::<usize>();
    let pieces: Option<Vec<&[u32]>> = offsets
        .windows(2)
        .map(|ends| ids.get(ends[0] as usize..ends[1] as usize))
        .collect();
    let Some(pieces) = pieces.filter(|pieces| pieces.len() == wanted) else {
        let message = format!(
            "{} offsets into {} ids do not cut out {wanted} pieces (a prompt and its completions per group)",
            offsets.len(),
            ids.len()
        );
        return Err(typed("InvalidArgument", message));
    };
    let mut rest = pieces.as_slice();
    let mut groups = Vec::with_capacity(completions.len());
    for &count in completions {
        let (group, after) = rest.split_at(count as usize + 1);
        groups.push(TokenGroup {
            prompt: group[0],
            completions: group[1..].to_vec(),
        });
        rest = after;
    }
    arrange(&groups, arrangement, reward, pad).map_err(to_error)
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RankingTable>()?;
    module.add_function(wrap_pyfunction!(read_rankings, module)?)?;
    module.add_function(wrap_pyfunction!(parse_rankings, module)?)?;
    module.add_function(wrap_pyfunction!(arrange_rankings, module)?)
}
