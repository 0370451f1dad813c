//! Operations on 16 float32 numbers at a time, which every instruction set implements with the same bits.

/// Numbers of a register.
pub const LANES: usize = 16;

/// Adding it to a number of magnitude below 2^22 rounds that to an integer, found in the lowest bits of the sum.
pub const ROUNDING: f32 = 12_582_912.0; // 1.5 * 2^23

/// Operations on 16 numbers. A value of a type that implements it proves that this machine has the instructions.
pub trait Simd: Copy {
    /// 16 numbers.
    type F: Copy;
    /// One number in every lane.
    fn splat(self, x: f32) -> Self::F;
    /// The numbers of an array.
    fn load(self, x: &[f32; LANES]) -> Self::F;
    /// bfloat16 numbers, by their bits.
    fn widen(self, x: &[u16; LANES]) -> Self::F;
    /// Writes the numbers into an array.
    fn store(self, x: Self::F, to: &mut [f32; LANES]);
    /// a + b
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// a - b
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// a * b
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// a / b
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// a * b + c, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// a where a > b, else b: b where one is NaN.
    fn larger(self, a: Self::F, b: Self::F) -> Self::F;
    /// a where a < b, else b: b where one is NaN.
    fn smaller(self, a: Self::F, b: Self::F) -> Self::F;
    /// 0 where x < limit, else value.
    fn zero_below(self, x: Self::F, limit: Self::F, value: Self::F) -> Self::F;
    /// 2^n, for n + [`ROUNDING`] with an integer n from -126 to 127.
    fn power(self, rounded: Self::F) -> Self::F;
    /// The largest lane. One that is NaN may count or not.
    fn max_lane(self, x: Self::F) -> f32;
}

/// Work that is compiled for an instruction set. `run` must be inlined, and all that it calls with a `Simd`.
pub trait Work {
    /// Does the work.
    fn run<S: Simd>(self, simd: S);
}
