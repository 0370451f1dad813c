//! Long calls: the work goes on without the interpreter, and Ctrl-C ends it.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use stategpt_tokenizer::{CancelFlag, Result, TokenizerError};

use super::{WORTH_DETACHING, error};
use crate::errors::typed;

/// Bytes (or ids) from which a call lasts long enough for somebody to lose patience.
const WORTH_INTERRUPTING: usize = 1 << 20;
/// How often the waiting thread asks for signals.
const PATIENCE: Duration = Duration::from_millis(50);

/// Runs `work`, without the interpreter if its input is large.
///
/// Long work (`size` is that of its input) has a thread of its own, so that this one can ask Python for signals: only Python's
/// main thread gets any. A handler that raises, as that of Ctrl-C does, has the work stopped and thrown away, and its
/// exception is what comes out.
pub fn wait_for<T: Send>(
    py: Python<'_>,
    size: usize,
    work: impl Fn(&CancelFlag) -> Result<T> + Sync,
) -> PyResult<T> {
    let stop = CancelFlag::default();
    if size < WORTH_DETACHING {
        return work(&stop).map_err(error);
    }
    if size < WORTH_INTERRUPTING {
        return py.detach(|| work(&stop)).map_err(error);
    }
    let (result, raised) = py.detach(|| {
        thread::scope(|scope| {
            let (sender, receiver) = channel();
            let (work, stop) = (&work, &stop);
            let worker = move || {
                // It is received below, whatever happens.
                let _ = sender.send(work(stop));
            };
            if thread::Builder::new().spawn_scoped(scope, worker).is_err() {
                return (work(stop), None);
            }
            let mut raised = None;
            loop {
                match receiver.recv_timeout(PATIENCE) {
                    Ok(result) => return (result, raised),
                    Err(RecvTimeoutError::Disconnected) => {
                        return (Err(TokenizerError::Interrupted), raised);
                    }
                    Err(RecvTimeoutError::Timeout) if raised.is_none() => {
                        raised = signal();
                        if raised.is_some() {
                            stop.raise();
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
        })
    });
    match raised {
        Some(raised) => Err(raised),
        None => result.map_err(error),
    }
}

/// Runs work that cannot be told to stop, in a thread of its own: after Ctrl-C it ends by itself, and nothing comes of it.
pub fn wait_apart<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> PyResult<T> {
    let (sender, receiver) = channel();
    let worker = move || {
        // Nobody may wait for it any more.
        let _ = sender.send(work());
    };
    let started = thread::Builder::new().spawn(worker);
    if let Err(reason) = started {
        let message = format!("the system gives no thread to load with: {reason}");
        return Err(typed("StorageError", message));
    }
    py.detach(move || {
        loop {
            match receiver.recv_timeout(PATIENCE) {
                Ok(result) => return result.map_err(error),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(error(TokenizerError::Interrupted));
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(raised) = signal() {
                        return Err(raised);
                    }
                }
            }
        }
    })
}

/// What a signal handler raised, if one ran. An interpreter on its way out has no handlers any more.
fn signal() -> Option<PyErr> {
    Python::try_attach(|py| py.check_signals().err()).flatten()
}
