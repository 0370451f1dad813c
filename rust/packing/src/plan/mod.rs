//! Packing plans: which pieces of which documents share a row.
//!
//! To add a strategy, write `plan/<name>.rs` with a [`Plan`] and a `STRATEGY`, and list it here. Its name is then a choice
//! of `stategpt.pack(strategy=...)` and of the setting `data.strategy`.

mod best_fit;
mod concat;
mod strategy;

pub use best_fit::{BestFit, FittedPlan, RankedPiece, Ranks, Split};
pub use strategy::{Plan, RowRules, Strategy, TooLong};

use crate::error::PackingError;

/// Every strategy; the first one is the default.
pub const STRATEGIES: &[Strategy] = &[best_fit::STRATEGY, concat::STRATEGY];

/// The strategy with the given name.
pub fn strategy(name: &str) -> Result<Strategy, PackingError> {
    let known = STRATEGIES.iter().find(|strategy| strategy.name() == name);
    known.copied().ok_or_else(|| {
        let names: Vec<&str> = STRATEGIES.iter().map(|known| known.name()).collect();
        PackingError::setting(
            "strategy",
            name,
            format!("it must be {}", names.join(" or ")),
        )
    })
}
