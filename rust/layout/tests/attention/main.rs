//! Work lists against visibility computed pair by pair; validation against arbitrary vectors.
#![allow(clippy::unwrap_used)]

mod stream;
mod tiles;
mod validation;
