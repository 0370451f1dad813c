//! Inputs shared by the benches: deterministic text, lengths and rankings.

pub mod ranking_inputs;
