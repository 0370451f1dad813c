//! Evaluation prompts and their answers in documents.

mod alignment;
mod finder;
mod index;

#[cfg(test)]
mod tests;

pub use finder::{Leak, LeakFinder, LeakRule, LeakRules};
