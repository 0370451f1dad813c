//! Python interface of `stategpt-rows`.

use numpy::{
    BorrowError, IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1,
    PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use stategpt_rows::{Draw, Error, Gate};

use crate::errors::{scattered, typed};

fn error(error: Error) -> PyErr {
    typed("InvalidArgument", error.to_string())
}

fn in_use(_: BorrowError) -> PyErr {
    let message = "another call reads or writes these rows, or they cannot be written";
    typed("InvalidArgument", message.to_owned())
}

#[pyfunction]
fn rms_norm(
    py: Python<'_>,
    x: &Bound<'_, PyArray2<f32>>,
    added: Option<PyReadonlyArray2<'_, f32>>,
    weight: PyReadonlyArray1<'_, f32>,
    epsilon: f32,
    out: &Bound<'_, PyArray2<f32>>,
    threads: usize,
) -> PyResult<()> {
    let added = added.as_ref().map(|added| added.as_slice());
    let added = added.transpose().map_err(|_| scattered())?;
    let weight = weight.as_slice().map_err(|_| scattered())?;
    let mut x = x.try_readwrite().map_err(in_use)?;
    let mut out = out.try_readwrite().map_err(in_use)?;
    let x = x.as_slice_mut().map_err(|_| scattered())?;
    let out = out.as_slice_mut().map_err(|_| scattered())?;
    py.detach(|| stategpt_rows::rms_norm(x, added, weight, epsilon, out, threads))
        .map_err(error)
}

#[pyfunction]
fn gate(
    py: Python<'_>,
    x: &Bound<'_, PyArray2<f32>>,
    up: PyReadonlyArray2<'_, f32>,
    silu: bool,
    threads: usize,
) -> PyResult<()> {
    let kind = if silu { Gate::Silu } else { Gate::Gelu };
    let mut x = x.try_readwrite().map_err(in_use)?;
    let x = x.as_slice_mut().map_err(|_| scattered())?;
    let up = up.as_slice().map_err(|_| scattered())?;
    py.detach(|| stategpt_rows::gate(kind, x, up, threads))
        .map_err(error)
}

type Drawn<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f32>>);

#[pyfunction]
fn draw<'py>(
    py: Python<'py>,
    logits: PyReadonlyArray2<'_, f32>,
    rows: PyReadonlyArray1<'_, i64>,
    temperatures: PyReadonlyArray1<'_, f32>,
    uniforms: PyReadonlyArray1<'_, f64>,
    removed: PyReadonlyArray1<'_, i64>,
    threads: usize,
) -> PyResult<Drawn<'py>> {
    let settings = Draw {
        vocabulary: logits.shape()[1],
        rows: rows.as_slice().map_err(|_| scattered())?,
        temperatures: temperatures.as_slice().map_err(|_| scattered())?,
        uniforms: uniforms.as_slice().map_err(|_| scattered())?,
        removed: removed.as_slice().map_err(|_| scattered())?,
        threads,
    };
    let logits = logits.as_slice().map_err(|_| scattered())?;
    let mut tokens = vec![0; settings.rows.len()];
    let mut log_probs = vec![0.0; settings.rows.len()];
    py.detach(|| stategpt_rows::draw(logits, &settings, &mut tokens, &mut log_probs))
        .map_err(error)?;
    Ok((tokens.into_pyarray(py), log_probs.into_pyarray(py)))
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(rms_norm, module)?)?;
    module.add_function(wrap_pyfunction!(gate, module)?)?;
    module.add_function(wrap_pyfunction!(draw, module)?)
}
