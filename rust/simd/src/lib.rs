//! Operations on 16 float32 numbers by the registers of this machine. Every instruction set gives the same bits.
//!
//! # Key types
//! * [`Work`]: a computation that is generic over the instruction set.
//! * [`Tier`]: an instruction set of this machine; [`Tier::run`] does work with it.
//! * [`Simd`]: the operations, on [`LANES`] numbers.
//!
//! # Usage
//! ```
//! use stategpt_simd::{LANES, Simd, Tier, Work};
//! struct Double<'a>(&'a mut [f32; LANES]);
//! impl Work for Double<'_> {
//!     #[inline(always)]
//!     fn run<S: Simd>(self, simd: S) {
//!         let x = simd.load(self.0);
//!         simd.store(simd.add(x, x), self.0);
//!     }
//! }
//! let mut numbers = [1.5; LANES];
//! Tier::of_machine().run(Double(&mut numbers));
//! assert_eq!(numbers, [3.0; LANES]);
//! ```

mod exponential;
mod lanes;
mod tier;

pub use exponential::{LEAST_EXPONENT, exp2, exp2_within, tanh};
pub use lanes::{LANES, ROUNDING, Simd, Work};
pub use tier::Tier;
