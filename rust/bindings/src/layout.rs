//! Python interface of `stategpt-layout`: validation and work lists.

use std::borrow::Cow;

use numpy::{IntoPyArray, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use stategpt_layout::{AttentionLayout, LayoutError, Runs, TileSide, Tiling};

use crate::errors::typed;

type Vector<'py> = PyReadonlyArray1<'py, i32>;

/// The class of `stategpt.errors` for each kind of failure.
pub(crate) fn error(error: LayoutError) -> PyErr {
    match error {
        LayoutError::BadSetting { .. } | LayoutError::BadToken { .. } => {
            typed("InvalidArgument", error.to_string())
        }
        LayoutError::OutOfMemory { .. } => PyMemoryError::new_err(error.to_string()),
    }
}

/// The entries of a vector; copied unless they are contiguous.
fn entries<'a>(vector: &'a Vector<'_>) -> Cow<'a, [i32]> {
    vector
        .as_slice()
        .map_or_else(|_| vector.as_array().iter().copied().collect(), Cow::from)
}

/// Runs `work` on the layout without the GIL.
fn with_layout<T: Send>(
    py: Python<'_>,
    vectors: [&Vector<'_>; 4],
    row_tokens: i64,
    work: impl FnOnce(&AttentionLayout<'_>) -> Result<T, LayoutError> + Send,
) -> PyResult<T> {
    let [segment_start, prefix_end, branch_start, position] = vectors.map(entries);
    let layout = AttentionLayout {
        segment_start: &segment_start,
        prefix_end: &prefix_end,
        branch_start: &branch_start,
        position: &position,
        row_tokens,
    };
    py.detach(|| work(&layout)).map_err(error)
}

#[pyfunction]
fn validate_attention_layout(
    py: Python<'_>,
    segment_start: Vector<'_>,
    prefix_end: Vector<'_>,
    branch_start: Vector<'_>,
    position: Vector<'_>,
    row_tokens: i64,
) -> PyResult<()> {
    let vectors = [&segment_start, &prefix_end, &branch_start, &position];
    with_layout(py, vectors, row_tokens, |layout| layout.validate())
}

#[pyfunction]
#[allow(
    clippy::too_many_arguments,
    reason = "a layout is five of them; it has no class on this side"
)]
fn attention_work_list<'py>(
    py: Python<'py>,
    segment_start: Vector<'py>,
    prefix_end: Vector<'py>,
    branch_start: Vector<'py>,
    position: Vector<'py>,
    row_tokens: i64,
    tiles: &str,
    block_q: i64,
    block_k: i64,
    window: Option<i64>,
) -> PyResult<Bound<'py, PyArray2<i32>>> {
    let side = TileSide::named(tiles).map_err(error)?;
    let vectors = [&segment_start, &prefix_end, &branch_start, &position];
    let list = with_layout(py, vectors, row_tokens, |layout| {
        let tiling = Tiling::new(block_q, block_k, window)?;
        Ok(side.work_list(&Runs::of(layout)?, &tiling))
    })?;
    let shape = [list.len() / side.fields(), side.fields()];
    list.into_pyarray(py).reshape(shape)
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(validate_attention_layout, module)?)?;
    module.add_function(wrap_pyfunction!(attention_work_list, module)?)
}
