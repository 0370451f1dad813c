//! Python interface of `stategpt-ranking`: a whole source at once, in columns.

use numpy::{PyArray1, PyReadonlyArray1, ToPyArray};
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use stategpt_ranking::{Arrangement, Batch, Error, Reader, Table, arrange, token_groups};

use crate::errors::typed;
use crate::lines::TextFile;

/// Line, byte offset, code and message of a record that was not kept.
type RejectedRow = (u64, u64, &'static str, String);

/// The records of one source in columns; see `_native.pyi`.
#[pyclass(frozen, module = "stategpt._native")]
pub struct RankingTable(Table);

#[pymethods]
impl RankingTable {
    #[getter]
    fn ids(&self) -> &[String] {
        &self.0.ids
    }

    #[getter]
    fn prompts(&self) -> &[String] {
        &self.0.prompts
    }

    #[getter]
    fn lines(&self) -> &[u64] {
        &self.0.lines
    }

    #[getter]
    fn byte_offsets(&self) -> &[u64] {
        &self.0.byte_offsets
    }

    #[getter]
    fn texts(&self) -> &[String] {
        &self.0.texts
    }

    #[getter]
    fn ended(&self) -> &[bool] {
        &self.0.ended
    }

    #[getter]
    fn tokenizers(&self) -> &[Option<String>] {
        &self.0.tokenizers
    }

    #[getter]
    fn rejected(&self) -> Vec<RejectedRow> {
        let rows = self.0.rejected.iter().map(|rejection| {
            let problem = &rejection.problem;
            let (line, byte_offset) = (rejection.line, rejection.byte_offset);
            (line, byte_offset, problem.code(), problem.to_string())
        });
        rows.collect()
    }

    #[getter]
    fn line_count(&self) -> u64 {
        self.0.summary.lines
    }

    #[getter]
    fn blank_count(&self) -> u64 {
        self.0.summary.blank
    }

    #[getter]
    fn ranks<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        self.0.ranks.to_pyarray(py)
    }

    #[getter]
    fn completion_offsets<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        self.0.completion_offsets.to_pyarray(py)
    }

    #[getter]
    fn token_ids<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        self.0.token_ids.to_pyarray(py)
    }

    #[getter]
    fn token_offsets<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        self.0.token_offsets.to_pyarray(py)
    }

    #[getter]
    fn pairs<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        self.0.pairs.to_pyarray(py)
    }

    #[getter]
    fn pair_offsets<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        self.0.pair_offsets.to_pyarray(py)
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
        Error::Read { .. } => typed("StorageError", message),
        Error::EmptyGroup { .. }
        | Error::BatchTooLarge { .. }
        | Error::UnknownArrangement { .. }
        | Error::BadOffsets { .. } => typed("InvalidArgument", message),
        Error::Layout(error) => crate::layout::error(error),
        Error::OutOfMemory { .. } => PyMemoryError::new_err(message),
    }
}

#[pyfunction]
fn read_rankings(py: Python<'_>, file: &TextFile) -> PyResult<RankingTable> {
    let typed_error = |error| match error {
        Error::Read { source, .. } => file.error(py, source),
        other => to_error(other),
    };
    file.with(
        py,
        |reader, should_continue| Table::read(Reader::new(reader.source_mut()), should_continue),
        typed_error,
    )
    .map(RankingTable)
}

#[pyfunction]
fn parse_rankings(py: Python<'_>, text: &[u8]) -> PyResult<RankingTable> {
    py.detach(|| Table::read(Reader::new(text), &|| true))
        .map(RankingTable)
        .map_err(to_error)
}

#[pyfunction]
fn arrange_rankings<'py>(
    py: Python<'py>,
    ids: PyReadonlyArray1<'py, u32>,
    offsets: PyReadonlyArray1<'py, u64>,
    completions: Vec<u32>,
    arrangement: &str,
    reward: u32,
    pad: u32,
) -> PyResult<BatchArrays<'py>> {
    let (ids, offsets) = (ids.as_slice()?, offsets.as_slice()?);
    let batch = py.detach(|| {
        let arrangement = Arrangement::named(arrangement)?;
        let groups = token_groups(ids, offsets, &completions)?;
        arrange(&groups, arrangement, reward, pad)
    });
    Ok(batch_arrays(py, &batch.map_err(to_error)?))
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

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RankingTable>()?;
    module.add_function(wrap_pyfunction!(read_rankings, module)?)?;
    module.add_function(wrap_pyfunction!(parse_rankings, module)?)?;
    module.add_function(wrap_pyfunction!(arrange_rankings, module)?)
}
