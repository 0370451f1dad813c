#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use stategpt_simd::{Simd, Tier, Work};

use crate::*;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mixed = |i: u64| (i + 31 * seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    (0..count as u64)
        .map(|i| mixed(i) as f32 / (1 << 22) as f32 - 2.0)
        .collect()
}

fn close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let gap = (f64::from(found) - expected).abs();
        assert!(
            gap <= 2e-6 * expected.abs().max(1.0),
            "{at}: {found} {expected}"
        );
    }
}

fn normed(x: &[f32], weight: &[f32], epsilon: f64) -> Vec<f64> {
    let squares: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let root = (squares / x.len() as f64 + epsilon).sqrt();
    let scaled = |(&x, &w): (&f32, &f32)| f64::from(x) / root * f64::from(w);
    x.iter().zip(weight).map(scaled).collect()
}

#[test]
fn norms_are_the_definition_s_and_add_what_comes_before() {
    for width in [1, 7, 16, 33, 192] {
        let (before, added, weight) = (
            numbers(3 * width, 1),
            numbers(3 * width, 2),
            numbers(width, 3),
        );
        let mut x = before.clone();
        let mut out = vec![0.0; x.len()];
        rms_norm(&mut x, Some(&added), &weight, 1e-5, &mut out, 1).unwrap();
        let total: Vec<f32> = before.iter().zip(&added).map(|(a, b)| a + b).collect();
        assert_eq!(x, total);
        for (total, out) in total.chunks(width).zip(out.chunks(width)) {
            close(out, &normed(total, &weight, 1e-5));
        }
        rms_norm(&mut x, None, &weight, 1e-5, &mut out, 1).unwrap();
        assert_eq!(x, total);
    }
}

#[test]
fn heads_are_normed_and_turned() {
    for width in [2, 6, 32, 40, 64] {
        let (tokens, queries, keys) = (3, 4, 2);
        let qkv = numbers(tokens * (queries + 2 * keys) * width, 1);
        let weight = numbers((queries + keys) * width, 2);
        let angles = numbers(tokens * width / 2, 3);
        let cosines: Vec<f32> = angles.iter().map(|angle| angle.cos()).collect();
        let sines: Vec<f32> = angles.iter().map(|angle| angle.sin()).collect();
        let mut heads = Heads {
            queries,
            keys,
            width,
            norm: Some((&weight, 1e-6)),
            rotary: Some((&cosines, &sines)),
            threads: 1,
        };
        let mut q = vec![0.0; tokens * queries * width];
        let mut k = vec![0.0; tokens * keys * width];
        let mut v = k.clone();
        split_heads(&qkv, &heads, &mut q, &mut k, &mut v).unwrap();
        for (token, qkv) in qkv.chunks((queries + 2 * keys) * width).enumerate() {
            for (head, x) in qkv.chunks(width).enumerate() {
                if head >= queries + keys {
                    let place = token * keys + head - queries - keys;
                    assert_eq!(&v[place * width..][..width], x);
                    continue;
                }
                let x = normed(x, &weight[head * width..][..width], 1e-6);
                let (a, b) = x.split_at(width / 2);
                let angles = token * width / 2..(token + 1) * width / 2;
                let turned: Vec<(f64, f64)> = (a.iter().zip(b))
                    .zip(cosines[angles.clone()].iter().zip(&sines[angles]))
                    .map(|((a, b), (&c, &s))| {
                        (
                            a * f64::from(c) - b * f64::from(s),
                            b * f64::from(c) + a * f64::from(s),
                        )
                    })
                    .collect();
                let expected: Vec<f64> = turned
                    .iter()
                    .map(|t| t.0)
                    .chain(turned.iter().map(|t| t.1))
                    .collect();
                let found = if head < queries {
                    &q[(token * queries + head) * width..][..width]
                } else {
                    &k[(token * keys + head - queries) * width..][..width]
                };
                close(found, &expected);
            }
        }
        (heads.norm, heads.rotary) = (None, None);
        split_heads(&qkv, &heads, &mut q, &mut k, &mut v).unwrap();
        assert_eq!(q[..queries * width], qkv[..queries * width]);
        assert_eq!(k[..keys * width], qkv[queries * width..][..keys * width]);
    }
}

#[test]
fn gates_are_the_definitions() {
    let silu = |x: f64| x / (1.0 + (-x).exp());
    let gelu = |x: f64| {
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
        x / 2.0 * (1.0 + inner.tanh())
    };
    let mut x: Vec<f32> = numbers(1003, 1).iter().map(|x| x * 8.0).collect();
    x.extend([0.0, -0.0, 200.0, -200.0, 3e38]);
    let up: Vec<f32> = numbers(x.len(), 2);
    for (kind, definition) in [
        (Gate::Silu, &silu as &dyn Fn(f64) -> f64),
        (Gate::Gelu, &gelu),
    ] {
        let mut found = x.clone();
        found.truncate(x.len() - usize::from(kind == Gate::Gelu)); // its cube is infinite
        let count = found.len();
        gate(kind, &mut found, &up[..count], 1).unwrap();
        for ((&found, &x), &up) in found.iter().zip(&x).zip(&up) {
            let expected = definition(x.into()) * f64::from(up);
            let gap = (f64::from(found) - expected).abs();
            assert!(
                gap <= 4e-6 * expected.abs().max(1e-1),
                "{kind:?} {x}: {found} {expected}"
            );
        }
        let mut broken = [f32::NAN];
        gate(kind, &mut broken, &[1.0], 1).unwrap();
        assert!(broken[0].is_nan());
    }
}

fn drawn(logits: &[f32], settings: &Draw<'_>) -> (Vec<i64>, Vec<f32>) {
    let mut tokens = vec![0; settings.rows.len()];
    let mut log_probs = vec![0.0; settings.rows.len()];
    draw(logits, settings, &mut tokens, &mut log_probs).unwrap();
    (tokens, log_probs)
}

/// Probabilities by the definition, in float64.
fn distribution(row: &[f32], temperature: f64, removed: &[i64]) -> Vec<f64> {
    let weight = |(place, &x): (usize, &f32)| {
        let is_left = !removed.contains(&(place as i64));
        if is_left {
            (f64::from(x) / temperature).exp()
        } else {
            0.0
        }
    };
    let weights: Vec<f64> = row.iter().enumerate().map(weight).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_token_is_where_the_uniform_number_is(
        width in 1usize..700, uniform in 0.0f64..1.0, temperature in 0.1f32..3.0, seed in 0u64..1000,
    ) {
        let logits: Vec<f32> = numbers(width, seed).iter().map(|x| 3.0 * x).collect();
        let removed: Vec<i64> = (0..width as i64).filter(|id| id % 5 == 1).collect();
        let settings = Draw {
            vocabulary: width, rows: &[0], temperatures: &[temperature], uniforms: &[uniform], removed: &removed, threads: 1,
        };
        let (tokens, log_probs) = drawn(&logits, &settings);
        let expected = distribution(&logits, temperature.into(), &removed);
        let token = usize::try_from(tokens[0]).unwrap();
        let below: f64 = expected[..token].iter().sum();
        prop_assert!(below <= uniform + 1e-6 && uniform <= below + expected[token] + 1e-6);
        prop_assert!((f64::from(log_probs[0]) - expected[token].ln()).abs() < 2e-6 * (1.0 + expected[token].ln().abs()));
    }
}

#[test]
fn the_ends_of_the_uniform_numbers_are_the_first_and_last_token_left() {
    let logits = vec![0.0; 300];
    let removed = [0, 1, 298, 299];
    let uniforms = [0.0, 1.0 - f64::EPSILON / 2.0, 1.0];
    let settings = Draw {
        vocabulary: 300,
        rows: &[0; 3],
        temperatures: &[1.0; 3],
        uniforms: &uniforms,
        removed: &removed,
        threads: 1,
    };
    assert_eq!(drawn(&logits, &settings).0, [2, 297, 297]);
}

#[test]
fn the_most_likely_token_is_the_first_of_equal_ones_at_temperature_zero() {
    let logits = [1.0, 7.0, 7.0, f32::NEG_INFINITY, 2.0, 9.0];
    let settings = Draw {
        vocabulary: 6,
        rows: &[0],
        temperatures: &[0.0],
        uniforms: &[0.9],
        removed: &[5],
        threads: 1,
    };
    let (tokens, log_probs) = drawn(&logits, &settings);
    assert_eq!(tokens, [1]);
    let expected = distribution(&logits, 1.0, &[5])[1].ln();
    assert!((f64::from(log_probs[0]) - expected).abs() < 1e-6);
}

#[test]
fn rows_without_a_distribution_have_no_token() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let logits = [
        [0.0, 1.0, nan, 0.0],
        [0.0, inf, 0.0, 0.0],
        [0.0, 0.0, 0.0, nan],
        [-inf, -inf, -inf, 5.0],
        [-inf, 0.0, -inf, 5.0],
    ];
    for temperature in [0.0, 1.0] {
        let settings = Draw {
            vocabulary: 4,
            rows: &[0, 1, 2, 3, 4],
            temperatures: &[temperature; 5],
            uniforms: &[0.4; 5],
            removed: &[3],
            threads: 1,
        };
        let (tokens, log_probs) = drawn(logits.as_flattened(), &settings);
        assert_eq!(tokens, [-1, -1, -1, -1, 1]);
        assert!(log_probs[..4].iter().all(|nats| nats.is_nan()));
        assert_eq!(log_probs[4], 0.0);
    }
}

#[test]
fn threads_and_other_rows_do_not_change_a_bit() {
    let (rows, width) = (70, 4099);
    let logits = numbers(rows * width, 5);
    let numbered: Vec<i64> = (0..rows as i64).rev().collect();
    let uniforms: Vec<f64> = (0..rows).map(|row| row as f64 / rows as f64).collect();
    let of = |part: std::ops::Range<usize>, threads| {
        let settings = Draw {
            vocabulary: width,
            rows: &numbered[part.clone()],
            temperatures: &vec![0.7; part.len()],
            uniforms: &uniforms[part],
            removed: &[7],
            threads,
        };
        drawn(&logits, &settings)
    };
    let all = of(0..rows, 1);
    assert_eq!(of(0..rows, 3), all);
    for row in 0..rows {
        let alone = of(row..row + 1, 1);
        assert_eq!((alone.0[0], alone.1[0]), (all.0[row], all.1[row]));
    }
    let (weight, mut x) = (numbers(width, 6), logits.clone());
    let (mut one, mut three) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    rms_norm(&mut x, None, &weight, 1e-6, &mut one, 1).unwrap();
    rms_norm(&mut x, None, &weight, 1e-6, &mut three, 3).unwrap();
    assert_eq!(one, three);
    (one, three) = (logits.clone(), logits.clone());
    gate(Gate::Silu, &mut one, &logits, 1).unwrap();
    gate(Gate::Silu, &mut three, &logits, 3).unwrap();
    assert_eq!(one, three);
}

/// Bits of a norm and of an activation by an instruction set.
struct Bits<'a>(&'a [f32], &'a mut Vec<f32>);

impl Work for Bits<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut out = vec![0.0; self.0.len()];
        crate::norm::normalize(simd, self.0, self.0, 1e-6, &mut out);
        self.1.extend(out);
        for chunk in self.0.chunks(16) {
            let mut power = [0.0; 16];
            let x = crate::chunks::load(simd, chunk, 0.0);
            simd.store(stategpt_simd::exp2_within(simd, x), &mut power);
            self.1.extend(power);
        }
    }
}

#[test]
fn every_tier_gives_the_bits_of_the_portable_one() {
    let x = numbers(203, 9);
    let mut expected = Vec::new();
    Tier::Portable.run(Bits(&x, &mut expected));
    for tier in Tier::available() {
        let mut found = Vec::new();
        tier.run(Bits(&x, &mut found));
        assert_eq!(found, expected, "{tier:?}");
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let mut two = [0.0; 2];
    assert!(matches!(
        rms_norm(&mut [0.0; 3], None, &[1.0; 2], 1e-6, &mut [0.0; 3], 1),
        Err(Error::Rows {
            numbers: 3,
            width: 2
        })
    ));
    assert!(rms_norm(&mut two, Some(&[0.0]), &[1.0; 2], 1e-6, &mut [0.0; 2], 1).is_err());
    assert!(rms_norm(&mut [], None, &[], 1e-6, &mut [], 1).is_err());
    assert!(gate(Gate::Gelu, &mut two, &[0.0], 1).is_err());
    let heads = Heads {
        queries: 1,
        keys: 1,
        width: 3,
        norm: None,
        rotary: None,
        threads: 1,
    };
    let mut three = [[0.0; 3]; 3];
    let [q, k, v] = &mut three;
    assert_eq!(
        split_heads(&[0.0; 9], &heads, q, k, v),
        Err(Error::Width(3))
    );
    let settings = Draw {
        vocabulary: 2,
        rows: &[1],
        temperatures: &[1.0],
        uniforms: &[0.0],
        removed: &[],
        threads: 1,
    };
    let mut one = ([0], [0.0]);
    assert_eq!(
        draw(&[0.0; 2], &settings, &mut one.0, &mut one.1),
        Err(Error::Index {
            name: "rows",
            index: 1,
            count: 1
        })
    );
    let settings = Draw {
        rows: &[0],
        removed: &[-1],
        ..settings
    };
    assert!(draw(&[0.0; 2], &settings, &mut one.0, &mut one.1).is_err());
}
