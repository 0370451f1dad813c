//! Packed rows and mixtures, a batch at a time.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use stategpt_packing as packing;
use stategpt_packing::{FittedPlan, LengthCounter, Rows};

use super::errors::error;
use super::shards::TokenShards;
use crate::errors::typed;

type Vector<'py, T> = Bound<'py, PyArray1<T>>;
/// Tokens, targets, loss mask, segment starts, positions, document ids, number of trained targets.
type BatchArrays<'py> = (
    Vector<'py, u32>,
    Vector<'py, u32>,
    Vector<'py, bool>,
    Vector<'py, i32>,
    Vector<'py, i32>,
    Vector<'py, u64>,
    u64,
);

fn batch<'py>(
    py: Python<'py>,
    rows: &dyn Rows,
    first: u64,
    count: u64,
    batch_rows: u64,
) -> PyResult<BatchArrays<'py>> {
    let written = py.detach(|| {
        let batch = rows.batch(first, count, batch_rows)?;
        let target_count = batch.target_count();
        Ok((batch, target_count))
    });
    let (batch, target_count) = written.map_err(error)?;
    Ok((
        batch.tokens.into_pyarray(py),
        batch.targets.into_pyarray(py),
        batch.loss_mask.into_pyarray(py),
        batch.layout.segment_start.into_pyarray(py),
        batch.layout.position.into_pyarray(py),
        batch.doc_ids.into_pyarray(py),
        target_count,
    ))
}

/// A data set as rows.
#[pyclass(frozen, module = "stategpt._native")]
pub struct PackedRows(Arc<packing::Packed>);

#[pymethods]
impl PackedRows {
    #[new]
    fn new(
        py: Python<'_>,
        shards: &TokenShards,
        row_tokens: u32,
        strategy: &str,
        isolate_documents: bool,
        reject_too_long: bool,
        seed: u64,
    ) -> PyResult<Self> {
        let strategy = packing::strategy(strategy).map_err(error)?;
        let config = packing::PackConfig {
            row_tokens,
            strategy,
            isolate_documents,
            reject_too_long,
            seed,
        };
        // Best fit reads the offsets of all documents: a second for tens of millions.
        py.detach(|| packing::Packed::new(Arc::clone(&shards.0), config))
            .map(|packed| Self(Arc::new(packed)))
            .map_err(error)
    }

    #[getter]
    fn rows(&self) -> u64 {
        self.0.num_rows()
    }

    #[getter]
    fn tokens(&self) -> u64 {
        self.0.tokens()
    }

    #[getter]
    fn rejected(&self) -> (u64, u64) {
        (self.0.rejected().documents, self.0.rejected().tokens)
    }

    #[getter]
    fn fingerprint(&self) -> &str {
        self.0.fingerprint()
    }

    fn documents_of(&self, py: Python<'_>, row: u64) -> PyResult<Vec<u64>> {
        py.detach(|| self.0.documents_of(row)).map_err(error)
    }

    fn batch<'py>(
        &self,
        py: Python<'py>,
        first: u64,
        rows: u64,
        batch_rows: u64,
    ) -> PyResult<BatchArrays<'py>> {
        batch(py, self.0.as_ref(), first, rows, batch_rows)
    }
}

/// Several data sets as rows.
#[pyclass(frozen, module = "stategpt._native")]
pub struct MixedRows(packing::Mixture);

#[pymethods]
impl MixedRows {
    #[new]
    fn new(
        py: Python<'_>,
        sources: Vec<(String, Py<PackedRows>, f64)>,
        seed: u64,
        max_epochs: Option<f64>,
    ) -> PyResult<Self> {
        let source = |(name, packed, proportion): (String, Py<PackedRows>, f64)| packing::Source {
            name,
            packed: Arc::clone(&packed.get().0),
            proportion,
        };
        let sources = sources.into_iter().map(source).collect();
        py.detach(|| packing::Mixture::new(sources, seed, max_epochs))
            .map(Self)
            .map_err(error)
    }

    #[getter]
    fn rows(&self) -> Option<u64> {
        Rows::rows(&self.0)
    }

    #[getter]
    fn block_rows(&self) -> u64 {
        self.0.block_rows()
    }

    #[getter]
    fn fingerprint(&self) -> &str {
        self.0.fingerprint()
    }

    fn origin(&self, py: Python<'_>, row: u64) -> PyResult<(String, u64, u64)> {
        let origin = py.detach(|| self.0.origin(row)).map_err(error)?;
        Ok((
            self.0.sources()[origin.source].name.clone(),
            origin.epoch,
            origin.plan_row,
        ))
    }

    fn documents_of(&self, py: Python<'_>, row: u64) -> PyResult<(String, Vec<u64>)> {
        let (source, documents) = py.detach(|| self.0.documents_of(row)).map_err(error)?;
        Ok((self.0.sources()[source].name.clone(), documents))
    }

    fn report(&self, py: Python<'_>, rows: u64) -> Vec<(String, f64, u64, u64, f64)> {
        let drawn = py.detach(|| self.0.report(rows));
        let names = self.0.sources().iter().map(|source| source.name.clone());
        names
            .zip(drawn)
            .map(|(name, d)| (name, d.planned_share, d.rows, d.tokens, d.epochs))
            .collect()
    }

    fn batch<'py>(
        &self,
        py: Python<'py>,
        first: u64,
        rows: u64,
        batch_rows: u64,
    ) -> PyResult<BatchArrays<'py>> {
        batch(py, &self.0, first, rows, batch_rows)
    }
}

#[pyfunction]
pub fn best_fit_rows(
    py: Python<'_>,
    lengths: PyReadonlyArray1<'_, u32>,
    row_tokens: u32,
) -> PyResult<u64> {
    if !(2..=i32::MAX as u32).contains(&row_tokens) {
        let message = format!("row_tokens is {row_tokens}; a row holds 2 to 2^31 - 1 tokens");
        return Err(typed("InvalidArgument", message));
    }
    let lengths = lengths.as_slice()?;
    Ok(py.detach(|| {
        let mut counter = LengthCounter::default();
        lengths
            .iter()
            .for_each(|tokens| counter.add(u64::from(*tokens)));
        FittedPlan::new(&counter.into_histogram(), row_tokens, false, 0).rows()
    }))
}
