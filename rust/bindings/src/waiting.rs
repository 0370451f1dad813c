//! Long calls: the work runs without the GIL, and a signal such as Ctrl-C ends it.
//!
//! Only Python's main thread can handle signals. Called in it, the work runs in another thread while the main one waits
//! and asks Python for signals; a handler that raises cancels the work, and its exception is what the caller gets. Called
//! in any other thread, the work runs right there.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use stategpt_tokenizer::CancelFlag;

use crate::errors::typed;

/// Below this many bytes (or ids) a call takes less time than releasing the GIL and taking it again.
pub const MIN_DETACHED: usize = 4096;
/// From this many bytes (or ids) on a call takes long enough to be cancelled.
const MIN_CANCELLABLE: usize = 1 << 20;
/// Time between two questions for signals.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Runs `work` on an input of `size` bytes (or ids): with the GIL, without it, or as [`cancellable`] does.
pub fn by_size<T: Send, E: Send>(
    py: Python<'_>,
    size: usize,
    work: impl FnOnce(&CancelFlag) -> Result<T, E> + Send,
    typed_error: impl FnOnce(E) -> PyErr,
) -> PyResult<T> {
    if size < MIN_DETACHED {
        return work(&CancelFlag::default()).map_err(typed_error);
    }
    if size < MIN_CANCELLABLE {
        return py
            .detach(|| work(&CancelFlag::default()))
            .map_err(typed_error);
    }
    cancellable(py, work, typed_error)
}

/// Runs `work` without the GIL. After a signal whose handler raises, the flag is raised; the call returns when `work` does.
pub fn cancellable<T: Send, E: Send>(
    py: Python<'_>,
    work: impl FnOnce(&CancelFlag) -> Result<T, E> + Send,
    typed_error: impl FnOnce(E) -> PyErr,
) -> PyResult<T> {
    let flag = CancelFlag::default();
    if !is_main_thread(py) {
        return py.detach(|| work(&flag)).map_err(typed_error);
    }
    // Either the thread takes it or, where the system gives no thread, this one does.
    let work = Mutex::new(Some(work));
    let run = || {
        let taken = work.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.map(|work| work(&flag))
    };
    let (result, raised) = py.detach(|| {
        thread::scope(|scope| {
            let (sender, receiver) = channel();
            let worker = || {
                let sender = sender;
                // It is received below, whatever happens.
                let _ = sender.send(run());
            };
            let Ok(thread) = thread::Builder::new().spawn_scoped(scope, worker) else {
                return (run(), None);
            };
            let (mut outcome, mut raised) = (wait(&receiver), None);
            if let Outcome::Raised(error) = outcome {
                flag.raise();
                raised = Some(error);
                outcome = receiver.recv().map_or(Outcome::Panicked, Outcome::Done);
            }
            match (outcome, thread.join()) {
                (Outcome::Done(result), _) => (result, raised),
                (_, Err(panic)) => resume_unwind(panic),
                (_, Ok(())) => (None, raised),
            }
        })
    });
    match (raised, result) {
        (Some(raised), _) => Err(raised),
        (None, Some(result)) => result.map_err(typed_error),
        (None, None) => Err(lost()),
    }
}

/// Runs `work` in this thread without the GIL. What `work` is given asks Python for signals, and says false once a handler
/// has raised; for work that seldom asks, as a question costs a microsecond, and a thread as of [`cancellable`] twenty.
pub fn polling<T: Send, E: Send>(
    py: Python<'_>,
    work: impl FnOnce(&dyn Fn() -> bool) -> Result<T, E> + Send,
    typed_error: impl FnOnce(E) -> PyErr,
) -> PyResult<T> {
    let raised = Mutex::new(None);
    let should_continue = || {
        let signal = Python::try_attach(|py| py.check_signals().err()).flatten();
        let mut raised = raised.lock().unwrap_or_else(PoisonError::into_inner);
        *raised = raised.take().or(signal);
        raised.is_none()
    };
    let result = py.detach(|| work(&should_continue));
    match raised.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(raised) => Err(raised),
        None => result.map_err(typed_error),
    }
}

/// Whether this is Python's main thread, the only one in which signal handlers run.
fn is_main_thread(py: Python<'_>) -> bool {
    let same = || -> PyResult<bool> {
        let main = py.import("threading")?.call_method0("main_thread")?;
        let here = py.import("_thread")?.call_method0("get_ident")?;
        main.getattr("ident")?.eq(here)
    };
    // Without an answer, wait as the main thread does: that is right in any thread.
    same().unwrap_or(true)
}

/// Runs work that cannot be cancelled, without the GIL: after a signal the thread ends by itself and its result is dropped.
pub fn detached<T: Send + 'static, E: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
    typed_error: impl FnOnce(E) -> PyErr,
) -> PyResult<T> {
    let (sender, receiver) = channel();
    let worker = move || {
        // The receiver is gone after a signal.
        let _ = sender.send(work());
    };
    if let Err(reason) = thread::Builder::new().spawn(worker) {
        let message = format!("the system gives no thread to load with: {reason}");
        return Err(typed("StorageError", message));
    }
    match py.detach(move || wait(&receiver)) {
        Outcome::Done(result) => result.map_err(typed_error),
        Outcome::Raised(raised) => Err(raised),
        Outcome::Panicked => Err(lost()),
    }
}

enum Outcome<T> {
    Done(T),
    /// What a signal handler raised.
    Raised(PyErr),
    /// The worker is gone without a result.
    Panicked,
}

/// Waits for the worker or for a signal.
fn wait<T>(receiver: &Receiver<T>) -> Outcome<T> {
    loop {
        match receiver.recv_timeout(POLL_INTERVAL) {
            Ok(result) => return Outcome::Done(result),
            Err(RecvTimeoutError::Disconnected) => return Outcome::Panicked,
            Err(RecvTimeoutError::Timeout) => {
                // An interpreter that is finalizing has no handlers any more.
                let raised = Python::try_attach(|py| py.check_signals().err()).flatten();
                if let Some(raised) = raised {
                    return Outcome::Raised(raised);
                }
            }
        }
    }
}

fn lost() -> PyErr {
    let message = "the call ended without a result; report this as a bug of stategpt";
    typed("StategptError", message.to_owned())
}
