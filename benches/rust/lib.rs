//! Inputs shared by the benches: deterministic text, lengths and rankings.

pub mod packing_inputs;
pub mod ranking_inputs;
pub mod tokenizer_inputs;
