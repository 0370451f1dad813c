//! Disks for tests: one that fails at a chosen operation, one that loses power.

mod disk;
mod failing;
mod memory;
mod power_loss;

pub use disk::{Abilities, SimulatedDisk};
pub use failing::{FailingDisk, Fault, Operation};
