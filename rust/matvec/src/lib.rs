//! Products of a few float32 vectors with a matrix of 8-bit codes: y = scale * (codes . x), row by row.
//!
//! Decoding reads every weight once a token, so its speed is that of memory: codes take a quarter of float32's bytes. The
//! vectors stay float32. Each product is summed in 64 lanes in one fixed order, without fused multiply-adds: its bits
//! depend neither on the machine's registers, nor on the number of threads, nor on the other vectors of the call.
//!
//! # Key types
//! * [`Matrix`]: borrowed codes and scales, validated.
//! * [`multiply`]: a few vectors by several matrices of one width, whose results come one behind the other.
//!
//! # Usage
//! ```
//! # fn main() -> Result<(), stategpt_matvec::Error> {
//! use stategpt_matvec::{Matrix, multiply};
//! let matrix = Matrix::new(&[1, 2, 3, -1, 0, 1], &[0.5, 2.0], 3)?;
//! assert_eq!(multiply(&[matrix], &[1.0, 1.0, 1.0], 1)?, [3.0, 0.0]);
//! # Ok(()) }
//! ```
//!
//! # Not for
//! Many vectors: from some dozens on a matrix product with the dequantized weights is faster.

mod dot;

use dot::Tier;

/// What a call can get wrong.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Codes, scales and width do not belong together.
    #[error("{codes} codes and {rows} scales are no matrix of width {width}")]
    Matrix {
        /// Number of codes.
        codes: usize,
        /// Number of scales.
        rows: usize,
        /// Numbers of a row.
        width: usize,
    },
    /// Not whole vectors of the matrices' width.
    #[error("{numbers} numbers are no vectors of width {width}")]
    Vectors {
        /// Numbers given.
        numbers: usize,
        /// Width of the first matrix.
        width: usize,
    },
}

/// Codes of `scales.len()` rows of `width` numbers.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    codes: &'a [i8],
    scales: &'a [f32],
    width: usize,
}

impl<'a> Matrix<'a> {
    /// Checks that the numbers are those of a matrix.
    pub fn new(codes: &'a [i8], scales: &'a [f32], width: usize) -> Result<Self, Error> {
        let rows = scales.len();
        if width == 0 || rows.checked_mul(width) != Some(codes.len()) {
            let codes = codes.len();
            return Err(Error::Matrix { codes, rows, width });
        }
        Ok(Self {
            codes,
            scales,
            width,
        })
    }
}

/// Fewer rows than this are not worth another thread.
const MIN_ROWS: usize = 64;

/// Multiplies each vector of `x` by all matrices: for each vector, the results of the first matrix, then the next.
///
/// At most `threads` threads work; 1 stays in the calling one, as a process does that was forked after a call.
pub fn multiply(matrices: &[Matrix<'_>], x: &[f32], threads: usize) -> Result<Vec<f32>, Error> {
    let width = matrices.first().map_or(1, |matrix| matrix.width);
    let vectors = x.len() / width;
    if vectors * width != x.len() || matrices.iter().any(|matrix| matrix.width != width) {
        let numbers = x.len();
        return Err(Error::Vectors { numbers, width });
    }
    let rows: usize = matrices.iter().map(|matrix| matrix.scales.len()).sum();
    // All vectors of a row together, so that its codes are read once.
    let mut by_row = vec![0.0; rows * vectors];
    if by_row.is_empty() {
        return Ok(by_row);
    }
    let share = rows.div_ceil(threads.max(1)).max(MIN_ROWS);
    let mut shares = divided(matrices, &mut by_row, vectors, share).into_iter();
    let tier = Tier::of_machine();
    let work = |share: Vec<Part<'_, '_>>| {
        share
            .into_iter()
            .for_each(|(matrix, out)| rows_of(tier, matrix, x, out))
    };
    if threads > 1 && !stategpt_threads::forked() {
        // The calling thread takes the first share: waking another one takes as long as a small product.
        rayon::in_place_scope(|scope| {
            let first = shares.next();
            shares.for_each(|share| scope.spawn(move |_| work(share)));
            first.into_iter().for_each(work);
        });
    } else {
        shares.for_each(work);
    }
    Ok(if vectors == 1 {
        by_row
    } else {
        by_vector(&by_row, vectors)
    })
}

/// Rows of a matrix, and the place of their results.
type Part<'a, 'out> = (Matrix<'a>, &'out mut [f32]);

/// The rows of all matrices in shares of `share` rows; the last may be smaller.
fn divided<'a, 'out>(
    matrices: &[Matrix<'a>],
    mut out: &'out mut [f32],
    vectors: usize,
    share: usize,
) -> Vec<Vec<Part<'a, 'out>>> {
    let mut shares = Vec::new();
    let (mut current, mut left) = (Vec::new(), share);
    for &Matrix {
        mut codes,
        mut scales,
        width,
    } in matrices
    {
        while !scales.is_empty() {
            let rows = left.min(scales.len());
            let (codes_here, codes_behind) = codes.split_at(rows * width);
            let (scales_here, scales_behind) = scales.split_at(rows);
            let (out_here, out_behind) = std::mem::take(&mut out).split_at_mut(rows * vectors);
            current.push((
                Matrix {
                    codes: codes_here,
                    scales: scales_here,
                    width,
                },
                out_here,
            ));
            (codes, scales, out, left) = (codes_behind, scales_behind, out_behind, left - rows);
            if left == 0 {
                shares.push(std::mem::take(&mut current));
                left = share;
            }
        }
    }
    shares.push(current);
    shares
}

/// Computes rows of a matrix for all vectors.
fn rows_of(tier: Tier, matrix: Matrix<'_>, x: &[f32], out: &mut [f32]) {
    let vectors = x.len() / matrix.width;
    let rows = matrix.codes.chunks_exact(matrix.width).zip(matrix.scales);
    for ((codes, scale), out) in rows.zip(out.chunks_exact_mut(vectors)) {
        for (vector, out) in x.chunks_exact(matrix.width).zip(out) {
            *out = scale * tier.dot(codes, vector);
        }
    }
}

fn by_vector(by_row: &[f32], vectors: usize) -> Vec<f32> {
    (0..vectors)
        .flat_map(|vector| by_row.iter().skip(vector).step_by(vectors).copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, in float64.
    fn plain(codes: &[i8], scales: &[f32], width: usize, x: &[f32]) -> Vec<f64> {
        let row = |vector: &[f32], row: usize| -> f64 {
            let codes = &codes[row * width..][..width];
            let sum: f64 = codes
                .iter()
                .zip(vector)
                .map(|(&c, &v)| f64::from(c) * f64::from(v))
                .sum();
            sum * f64::from(scales[row])
        };
        x.chunks(width)
            .flat_map(|vector| (0..scales.len()).map(move |r| row(vector, r)))
            .collect()
    }

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        (0..count as u64)
            .map(|i| {
                ((i + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f32 / (1 << 23) as f32
                    - 1.0
            })
            .collect()
    }

    fn codes(count: usize) -> Vec<i8> {
        numbers(count, 7)
            .iter()
            .map(|v| (v * 127.0) as i8)
            .collect()
    }

    proptest! {
        #[test]
        fn a_product_is_the_definition_s(width in 1usize..200, rows in 1usize..150, vectors in 1usize..4) {
            let (codes, scales, x) = (codes(rows * width), numbers(rows, 1), numbers(vectors * width, 2));
            let found = multiply(&[Matrix::new(&codes, &scales, width).unwrap()], &x, 2).unwrap();
            for (found, expected) in found.iter().zip(plain(&codes, &scales, width, &x)) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-5 * 127.0 * width as f64);
            }
        }
    }

    #[test]
    fn threads_other_vectors_and_other_matrices_do_not_change_a_bit() {
        let (width, rows) = (576, 300);
        let (codes, scales, x) = (codes(rows * width), numbers(rows, 1), numbers(3 * width, 2));
        let whole = Matrix::new(&codes, &scales, width).unwrap();
        let top = Matrix::new(&codes[..100 * width], &scales[..100], width).unwrap();
        let rest = Matrix::new(&codes[100 * width..], &scales[100..], width).unwrap();
        let expected = multiply(&[whole], &x, 1).unwrap();
        assert_eq!(multiply(&[whole], &x, 3).unwrap(), expected);
        assert_eq!(multiply(&[top, rest], &x, 2).unwrap(), expected);
        for (vector, expected) in x.chunks(width).zip(expected.chunks(rows)) {
            assert_eq!(multiply(&[whole], vector, 2).unwrap(), expected);
        }
    }

    #[test]
    fn every_tier_gives_the_bits_of_the_portable_one() {
        for width in [1, 15, 63, 64, 65, 576, 1000] {
            let (codes, x) = (codes(width), numbers(width, 3));
            for tier in Tier::available() {
                assert_eq!(
                    tier.dot(&codes, &x).to_bits(),
                    Tier::Portable.dot(&codes, &x).to_bits(),
                    "{tier:?}"
                );
            }
        }
    }

    #[test]
    fn numbers_that_do_not_belong_together_are_refused() {
        assert!(matches!(
            Matrix::new(&[1, 2, 3], &[1.0], 2),
            Err(Error::Matrix { .. })
        ));
        assert!(matches!(
            Matrix::new(&[], &[], 0),
            Err(Error::Matrix { .. })
        ));
        let narrow = Matrix::new(&[1, 2], &[1.0], 2).unwrap();
        let wide = Matrix::new(&[1, 2, 3, 4], &[1.0], 4).unwrap();
        assert!(matches!(
            multiply(&[narrow], &[1.0; 3], 1),
            Err(Error::Vectors { .. })
        ));
        assert!(matches!(
            multiply(&[narrow, wide], &[1.0; 4], 1),
            Err(Error::Vectors { .. })
        ));
        assert_eq!(multiply(&[narrow], &[], 1).unwrap(), Vec::<f32>::new());
    }
}
