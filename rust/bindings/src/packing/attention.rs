//! Attention layouts and their work lists.

use std::borrow::Cow;

use numpy::{IntoPyArray, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use stategpt_packing as packing;
use stategpt_packing::{AttentionLayout, KeyTile, PackingError, QueryTile, Runs, Tiling};

use super::error;

type Vector<'py> = PyReadonlyArray1<'py, i32>;

/// A vector's entries; copied where they do not lie side by side.
fn entries<'a>(vector: &'a Vector<'_>) -> Cow<'a, [i32]> {
    vector
        .as_slice()
        .map_or_else(|_| vector.as_array().iter().copied().collect(), Cow::from)
}

/// What `work` makes of the layout while the interpreter is let go.
fn with_layout<T: Send>(
    py: Python<'_>,
    vectors: [&Vector<'_>; 4],
    row_tokens: i64,
    work: impl FnOnce(&AttentionLayout<'_>) -> Result<T, PackingError> + Send,
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

/// What a work list is made for.
#[derive(Clone, Copy)]
enum Side {
    Queries,
    Keys,
}

impl Side {
    fn named(name: &str) -> Result<Self, PackingError> {
        match name {
            "queries" => Ok(Self::Queries),
            "keys" => Ok(Self::Keys),
            _ => {
                let rule = "it is \"queries\" or \"keys\"";
                Err(PackingError::setting("tiles", format!("{name:?}"), rule))
            }
        }
    }

    fn fields(self) -> usize {
        match self {
            Self::Queries => QueryTile::FIELDS,
            Self::Keys => KeyTile::FIELDS,
        }
    }

    /// Fields of all tiles, tile after tile.
    fn work_list(self, runs: &Runs, tiling: &Tiling) -> Vec<i32> {
        match self {
            Self::Queries => flat(packing::query_tiles(runs, tiling), |tile| tile.fields()),
            Self::Keys => flat(packing::key_tiles(runs, tiling), |tile| tile.fields()),
        }
    }
}

fn flat<T, const N: usize>(tiles: Vec<T>, fields: impl Fn(&T) -> [i32; N]) -> Vec<i32> {
    tiles.iter().flat_map(fields).collect()
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
    let side = Side::named(tiles).map_err(error)?;
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
