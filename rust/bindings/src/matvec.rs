//! Python interface of `stategpt-matvec`.

use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use stategpt_matvec::{Error, Matrix, multiply};

use crate::errors::{scattered, typed};

type Part = (Py<PyArray2<i8>>, Py<PyArray1<f32>>);

fn error(error: Error) -> PyErr {
    typed("InvalidArgument", error.to_string())
}

/// Matrices of 8-bit codes with one width; see `_native.pyi`.
#[pyclass(frozen, module = "stategpt._native")]
pub struct Int8Matrices(Vec<Part>);

#[pymethods]
impl Int8Matrices {
    #[new]
    fn new(parts: Vec<Part>) -> Self {
        Self(parts)
    }

    fn multiply<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f32>,
        threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let parts: Vec<_> = self
            .0
            .iter()
            .map(|(codes, scales)| (codes.bind(py).readonly(), scales.bind(py).readonly()))
            .collect();
        let mut matrices = Vec::with_capacity(parts.len());
        for (codes, scales) in &parts {
            let width = codes.shape()[1];
            let numbers = codes.as_slice().map_err(|_| scattered())?;
            let scales = scales.as_slice().map_err(|_| scattered())?;
            matrices.push(Matrix::new(numbers, scales, width).map_err(error)?);
        }
        let vectors = x.shape()[0];
        let x = x.as_slice().map_err(|_| scattered())?;
        let product = py
            .detach(|| multiply(&matrices, x, threads))
            .map_err(error)?;
        let rows = product.len().checked_div(vectors).unwrap_or(0);
        product.into_pyarray(py).reshape([vectors, rows])
    }
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Int8Matrices>()
}
