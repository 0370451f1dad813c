//! Long work that asks, as it goes, whether a signal has come: Ctrl-C ends it within a fraction of a second.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// How often the interpreter is asked. Asking needs its lock, so not at every turn.
const PATIENCE: Duration = Duration::from_millis(50);

/// Runs `work` without the interpreter. `work` asks the function it is given whether to go on and ends with any error when
/// told not to; the caller then gets what the signal's handler raised. Handlers run in Python's main thread only.
pub fn interruptible<T: Send, E: Send>(
    py: Python<'_>,
    work: impl FnOnce(&dyn Fn() -> bool) -> Result<T, E> + Send,
    typed: impl FnOnce(E) -> PyErr,
) -> PyResult<T> {
    let (result, raised) = py.detach(|| {
        let raised: RefCell<Option<PyErr>> = RefCell::new(None);
        let asked = Cell::new(Instant::now());
        let go_on = || {
            if raised.borrow().is_none() && asked.get().elapsed() >= PATIENCE {
                // An interpreter on its way out has no handlers any more.
                *raised.borrow_mut() = Python::try_attach(|py| py.check_signals().err()).flatten();
                asked.set(Instant::now());
            }
            raised.borrow().is_none()
        };
        let result = work(&go_on);
        (result, raised.into_inner())
    });
    match raised {
        Some(raised) => Err(raised),
        None => result.map_err(typed),
    }
}
