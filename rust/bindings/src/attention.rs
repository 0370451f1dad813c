//! Python interface of `stategpt-attention`.

use numpy::{
    BorrowError, Element as NumpyElement, IntoPyArray, PyArray2, PyArray3, PyArray4,
    PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyList;
use stategpt_attention::{Bf16, Element, Error, Options, Pages, Plan, Shape};
use stategpt_rows::Heads;

use crate::errors::{scattered, typed};

fn error(error: Error) -> PyErr {
    typed("InvalidArgument", error.to_string())
}

fn in_use(_: BorrowError) -> PyErr {
    let message =
        "another call reads or writes these pages, or they cannot be written; wait for it";
    typed("InvalidArgument", message.to_owned())
}

/// Which tokens of a step see which pages; see `_native.pyi`.
#[pyclass(frozen, module = "stategpt._native")]
pub struct PagePlan(Plan);

#[pymethods]
impl PagePlan {
    #[new]
    fn new(
        first: PyReadonlyArray1<'_, i32>,
        seen: PyReadonlyArray1<'_, i32>,
        tables: &Bound<'_, PyList>,
    ) -> PyResult<Self> {
        let tables: Vec<Vec<i32>> = tables
            .iter()
            .map(|row| table(&row))
            .collect::<PyResult<_>>()?;
        let first = first.as_slice().map_err(|_| scattered())?;
        let seen = seen.as_slice().map_err(|_| scattered())?;
        Plan::new(first, seen, &tables).map(Self).map_err(error)
    }

    #[getter]
    fn tokens(&self) -> usize {
        self.0.tokens()
    }

    #[getter]
    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn write(
        &self,
        py: Python<'_>,
        k: &Bound<'_, PyAny>,
        v: &Bound<'_, PyAny>,
        k_pages: &Bound<'_, PyAny>,
        v_pages: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let stored_short = k_pages.cast::<PyArray4<Bf16>>().is_ok();
        match (k.cast::<PyArray3<Bf16>>().is_ok(), stored_short) {
            (false, false) => self.write_as::<f32, f32>(py, [k, v], [k_pages, v_pages]),
            (false, true) => self.write_as::<f32, Bf16>(py, [k, v], [k_pages, v_pages]),
            (true, false) => self.write_as::<Bf16, f32>(py, [k, v], [k_pages, v_pages]),
            (true, true) => self.write_as::<Bf16, Bf16>(py, [k, v], [k_pages, v_pages]),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the arguments of the operation")]
    fn attend_joined<'py>(
        &self,
        py: Python<'py>,
        qkv: PyReadonlyArray2<'py, f32>,
        queries: usize,
        norm: Option<(PyReadonlyArray2<'py, f32>, f32)>,
        rotary: Option<(PyReadonlyArray2<'py, f32>, PyReadonlyArray2<'py, f32>)>,
        k_pages: &Bound<'py, PyAny>,
        v_pages: &Bound<'py, PyAny>,
        scale: f32,
        window: Option<usize>,
        softcap: Option<f32>,
        threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let options = Options {
            scale,
            window,
            softcap,
            threads,
        };
        let qkv = qkv.as_slice().map_err(|_| scattered())?;
        let norm = match &norm {
            Some((weights, epsilon)) => {
                Some((weights.as_slice().map_err(|_| scattered())?, *epsilon))
            }
            None => None,
        };
        let rotary = match &rotary {
            Some((cosines, sines)) => Some((
                cosines.as_slice().map_err(|_| scattered())?,
                sines.as_slice().map_err(|_| scattered())?,
            )),
            None => None,
        };
        let joined = Joined {
            queries,
            norm,
            rotary,
        };
        let stored = [k_pages, v_pages];
        if k_pages.cast::<PyArray4<Bf16>>().is_ok() {
            self.attend_joined_as::<Bf16>(py, qkv, &joined, stored, &options)
        } else {
            self.attend_joined_as::<f32>(py, qkv, &joined, stored, &options)
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the arguments of the operation")]
    fn attend<'py>(
        &self,
        py: Python<'py>,
        q: &Bound<'py, PyAny>,
        k_pages: &Bound<'py, PyAny>,
        v_pages: &Bound<'py, PyAny>,
        scale: f32,
        window: Option<usize>,
        softcap: Option<f32>,
        threads: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = Options {
            scale,
            window,
            softcap,
            threads,
        };
        let stored = [k_pages, v_pages];
        let stored_short = k_pages.cast::<PyArray4<Bf16>>().is_ok();
        match (q.cast::<PyArray3<Bf16>>().is_ok(), stored_short) {
            (false, false) => self.attend_as::<f32, f32>(py, q, stored, &options),
            (false, true) => self.attend_as::<f32, Bf16>(py, q, stored, &options),
            (true, false) => self.attend_as::<Bf16, f32>(py, q, stored, &options),
            (true, true) => self.attend_as::<Bf16, Bf16>(py, q, stored, &options),
        }
    }
}

/// The arguments of `attend_joined` beside projection and pages.
struct Joined<'a> {
    queries: usize,
    norm: Option<(&'a [f32], f32)>,
    rotary: Option<(&'a [f32], &'a [f32])>,
}

impl PagePlan {
    fn attend_joined_as<'py, E: Element + NumpyElement>(
        &self,
        py: Python<'py>,
        qkv: &[f32],
        joined: &Joined<'_>,
        pages: [&Bound<'py, PyAny>; 2],
        options: &Options,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let [k_pages, v_pages] = pages.map(|x| x.cast::<PyArray4<E>>());
        let (k_pages, v_pages) = (k_pages?, v_pages?);
        let shape = shape(k_pages, v_pages)?;
        let heads = Heads {
            queries: joined.queries,
            keys: shape.groups,
            width: shape.width,
            norm: joined.norm,
            rotary: joined.rotary,
            threads: options.threads,
        };
        let mut k_pages = k_pages.try_readwrite().map_err(in_use)?;
        let mut v_pages = v_pages.try_readwrite().map_err(in_use)?;
        let k_pages = k_pages.as_slice_mut().map_err(|_| scattered())?;
        let v_pages = v_pages.as_slice_mut().map_err(|_| scattered())?;
        let tokens = self.0.tokens();
        let attended = py.detach(|| {
            let mut q = vec![0.0; tokens * heads.queries * heads.width];
            let mut k = vec![0.0; tokens * heads.keys * heads.width];
            let mut v = k.clone();
            stategpt_rows::split_heads(qkv, &heads, &mut q, &mut k, &mut v)
                .map_err(|error| typed("InvalidArgument", error.to_string()))?;
            stategpt_attention::write(&self.0, &k, &v, k_pages, v_pages, shape).map_err(error)?;
            let pages = Pages {
                keys: k_pages,
                values: v_pages,
                shape,
            };
            stategpt_attention::attend(&self.0, &q, heads.queries, &pages, options).map_err(error)
        })?;
        attended
            .into_pyarray(py)
            .reshape([tokens, heads.queries * heads.width])
    }

    fn write_as<T: Element + NumpyElement, E: Element + NumpyElement>(
        &self,
        py: Python<'_>,
        tokens: [&Bound<'_, PyAny>; 2],
        pages: [&Bound<'_, PyAny>; 2],
    ) -> PyResult<()> {
        let [keys, values] = tokens.map(|x| x.cast::<PyArray3<T>>());
        let keys = keys?.try_readonly().map_err(in_use)?;
        let values = values?.try_readonly().map_err(in_use)?;
        let [k_pages, v_pages] = pages.map(|x| x.cast::<PyArray4<E>>());
        let (k_pages, v_pages) = (k_pages?, v_pages?);
        let shape = shape(k_pages, v_pages)?;
        let mut k_pages = k_pages.try_readwrite().map_err(in_use)?;
        let mut v_pages = v_pages.try_readwrite().map_err(in_use)?;
        let keys = keys.as_slice().map_err(|_| scattered())?;
        let values = values.as_slice().map_err(|_| scattered())?;
        let k_pages = k_pages.as_slice_mut().map_err(|_| scattered())?;
        let v_pages = v_pages.as_slice_mut().map_err(|_| scattered())?;
        py.detach(|| stategpt_attention::write(&self.0, keys, values, k_pages, v_pages, shape))
            .map_err(error)
    }

    fn attend_as<'py, Q: Element + NumpyElement, E: Element + NumpyElement>(
        &self,
        py: Python<'py>,
        q: &Bound<'py, PyAny>,
        pages: [&Bound<'py, PyAny>; 2],
        options: &Options,
    ) -> PyResult<Bound<'py, PyAny>> {
        let q = q.cast::<PyArray3<Q>>()?.try_readonly().map_err(in_use)?;
        let [k_pages, v_pages] = pages.map(|x| x.cast::<PyArray4<E>>());
        let (k_pages, v_pages) = (k_pages?, v_pages?);
        let shape = shape(k_pages, v_pages)?;
        let [tokens, heads, width] = [0, 1, 2].map(|axis| q.shape()[axis]);
        if width != shape.width {
            let message = format!("q has width {width}, the pages have {}", shape.width);
            return Err(typed("InvalidArgument", message));
        }
        let k_pages = k_pages.try_readonly().map_err(in_use)?;
        let v_pages = v_pages.try_readonly().map_err(in_use)?;
        let pages = Pages {
            keys: k_pages.as_slice().map_err(|_| scattered())?,
            values: v_pages.as_slice().map_err(|_| scattered())?,
            shape,
        };
        let q = q.as_slice().map_err(|_| scattered())?;
        let out = py
            .detach(|| stategpt_attention::attend(&self.0, q, heads, &pages, options))
            .map_err(error)?;
        let out = out.into_pyarray(py).reshape([tokens, heads, width])?;
        Ok(out.into_any())
    }
}

/// The sizes of a pool: keys [P, G, D, 16], values [P, G, 16, D].
fn shape<E: NumpyElement>(
    k_pages: &Bound<'_, PyArray4<E>>,
    v_pages: &Bound<'_, PyArray4<E>>,
) -> PyResult<Shape> {
    let (k, v) = (k_pages.shape(), v_pages.shape());
    let [pages, groups, width, slots] = [0, 1, 2, 3].map(|axis| k[axis]);
    if slots != stategpt_attention::PAGE_TOKENS || v != [pages, groups, slots, width] {
        let message =
            format!("k_pages {k:?} and v_pages {v:?} are not [P, G, D, 16] and [P, G, 16, D]");
        return Err(typed("InvalidArgument", message));
    }
    Ok(Shape {
        pages,
        groups,
        width,
    })
}

/// A list of ids, or a buffer of int32 such as an array.
fn table(row: &Bound<'_, PyAny>) -> PyResult<Vec<i32>> {
    if let Ok(list) = row.cast::<PyList>() {
        return list.iter().map(|page| page.extract()).collect();
    }
    if let Ok(buffer) = PyBuffer::<i32>::get(row) {
        return buffer.to_vec(row.py());
    }
    row.extract()
}

pub fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PagePlan>()
}
