//! Attention against its definition, and bit for bit against itself in other companies.

use proptest::prelude::*;

use crate::attend::attend_on;
use crate::simd::Tier;
use crate::*;

/// Numbers that a seed gives, one after the other.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Of mean 0 and variance 1.
    fn vector(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| {
                let sum: f32 = (0..4)
                    .map(|_| (self.next() >> 40) as f32 / 16_777_216.0)
                    .sum();
                (sum - 2.0) * 3.0_f32.sqrt()
            })
            .collect()
    }
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    heads: usize,
    groups: usize,
    width: usize,
}

/// Query, key and value of every position.
#[derive(Debug, Clone)]
struct Sequence {
    q: Vec<Vec<f32>>,
    k: Vec<Vec<f32>>,
    v: Vec<Vec<f32>>,
    table: Vec<i32>,
}

/// Sequences, some of which begin with pages of the one before, in a pool whose other numbers are NaN.
struct World<E> {
    sizes: Sizes,
    sequences: Vec<Sequence>,
    shape: Shape,
    k_pages: Vec<E>,
    v_pages: Vec<E>,
}

impl<E: Element> World<E> {
    /// Sequences of these lengths; each shares whole pages with the one before, up to a limit.
    fn new(sizes: Sizes, lengths: &[(usize, usize)], seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let total: usize = lengths
            .iter()
            .map(|(length, _)| length.div_ceil(PAGE_TOKENS))
            .sum();
        let mut free: Vec<i32> = (0..total as i32 + 3).collect();
        let mut sequences: Vec<Sequence> = Vec::new();
        for &(length, shared) in lengths {
            let mut sequence = Sequence {
                q: vec![],
                k: vec![],
                v: vec![],
                table: vec![],
            };
            if let Some(before) = sequences.last() {
                let pages = shared
                    .min(before.k.len() / PAGE_TOKENS)
                    .min(length / PAGE_TOKENS);
                sequence = before.clone();
                sequence.table.truncate(pages);
                for list in [&mut sequence.q, &mut sequence.k, &mut sequence.v] {
                    list.truncate(pages * PAGE_TOKENS);
                }
            }
            while sequence.k.len() < length {
                sequence.q.push(numbers.vector(sizes.heads * sizes.width));
                sequence.k.push(numbers.vector(sizes.groups * sizes.width));
                sequence.v.push(numbers.vector(sizes.groups * sizes.width));
            }
            while sequence.table.len() < length.div_ceil(PAGE_TOKENS) {
                sequence
                    .table
                    .push(free.swap_remove(numbers.below(free.len())));
            }
            sequences.push(sequence);
        }
        let shape = Shape {
            pages: total + 3,
            groups: sizes.groups,
            width: sizes.width,
        };
        let count = shape.pages * shape.groups * shape.width * PAGE_TOKENS;
        let nothing = vec![E::from_f32(f32::NAN); count];
        Self {
            sizes,
            sequences,
            shape,
            k_pages: nothing.clone(),
            v_pages: nothing,
        }
    }

    /// One step: (sequence, tokens before, new tokens) of each row. Returns the outputs, row by row.
    fn step(&mut self, tier: Tier, rows: &[(usize, usize, usize)], options: &Options) -> Vec<f32> {
        let (mut first, mut q, mut k, mut v) = (vec![0], vec![], vec![], vec![]);
        for &(sequence, seen, tokens) in rows {
            first.push(first[first.len() - 1] + tokens as i32);
            for position in seen..seen + tokens {
                q.extend_from_slice(&self.sequences[sequence].q[position]);
                k.extend_from_slice(&self.sequences[sequence].k[position]);
                v.extend_from_slice(&self.sequences[sequence].v[position]);
            }
        }
        let seen: Vec<i32> = rows.iter().map(|row| row.1 as i32).collect();
        let tables: Vec<&[i32]> = rows
            .iter()
            .map(|row| &self.sequences[row.0].table[..])
            .collect();
        let plan = Plan::new(&first, &seen, &tables).unwrap();
        write(
            &plan,
            &k,
            &v,
            &mut self.k_pages,
            &mut self.v_pages,
            self.shape,
        )
        .unwrap();
        let pages = Pages {
            keys: &self.k_pages,
            values: &self.v_pages,
            shape: self.shape,
        };
        attend_on(tier, &plan, &q, self.sizes.heads, &pages, options).unwrap()
    }

    /// The outputs of every position, by a random division into steps of several sequences; a page that is shared is
    /// written by its first sequence.
    fn shuffled(&mut self, tier: Tier, options: &Options, numbers: &mut Numbers) -> Vec<Vec<f32>> {
        let size = self.sizes.heads * self.sizes.width;
        let mut done = vec![0; self.sequences.len()];
        let mut found = vec![Vec::new(); self.sequences.len()];
        while (0..done.len()).any(|index| done[index] < self.sequences[index].k.len()) {
            let mut rows = Vec::new();
            for index in 0..self.sequences.len() {
                let left = self.sequences[index].k.len() - done[index];
                let taken = match numbers.below(4) {
                    0 => 0,
                    1 => 1,
                    2 => numbers.below(40),
                    _ => left,
                };
                // A shared page is complete before another sequence begins.
                let ready = index == 0 || {
                    let other = &self.sequences[index - 1];
                    let own = &self.sequences[index].table;
                    let shared = other
                        .table
                        .iter()
                        .zip(own)
                        .take_while(|(a, b)| a == b)
                        .count();
                    done[index] > 0 || done[index - 1] >= shared * PAGE_TOKENS
                };
                if ready && taken.min(left) > 0 {
                    rows.push((index, done[index], taken.min(left)));
                }
            }
            // Shared positions are computed again by each sequence, which writes what is there already: not in one step.
            rows.retain({
                let mut written = Vec::new();
                let sequences = &self.sequences;
                move |&(index, seen, tokens): &(usize, usize, usize)| {
                    let places = seen / PAGE_TOKENS..(seen + tokens).div_ceil(PAGE_TOKENS);
                    let pages = &sequences[index].table[places];
                    let free = pages.iter().all(|page| !written.contains(page));
                    written.extend_from_slice(pages);
                    free
                }
            });
            for at in (1..rows.len()).rev() {
                rows.swap(at, numbers.below(at + 1));
            }
            let threads = 1 + numbers.below(3);
            let outputs = self.step(
                tier,
                &rows,
                &Options {
                    threads,
                    ..*options
                },
            );
            let mut outputs = outputs.chunks(size);
            for (index, _, tokens) in rows {
                done[index] += tokens;
                for _ in 0..tokens {
                    found[index].extend_from_slice(outputs.next().unwrap());
                }
            }
        }
        found
    }

    /// The definition in float64, with the bound on the error of each output: (value, bound).
    fn defined(&self, sequence: usize, position: usize, options: &Options) -> Vec<(f64, f64)> {
        let Sizes {
            heads,
            groups,
            width,
        } = self.sizes;
        let numbers = &self.sequences[sequence];
        let first = (position + 1).saturating_sub(options.window.unwrap_or(usize::MAX));
        let stored = |x: &f32| f64::from(E::from_f32(*x).to_f32());
        let mut outputs = Vec::new();
        for head in 0..heads {
            let own = head / (heads / groups) * width..(head / (heads / groups) + 1) * width;
            let q = &numbers.q[position][head * width..(head + 1) * width];
            let (mut scores, mut largest) = (Vec::new(), 0.0_f64);
            for key in &numbers.k[first..=position] {
                let products = q
                    .iter()
                    .zip(&key[own.clone()])
                    .map(|(&q, k)| f64::from(q) * stored(k));
                let scale = f64::from(options.scale);
                largest = largest.max(products.clone().map(f64::abs).sum::<f64>() * scale.abs());
                let score = products.sum::<f64>() * scale;
                scores.push(options.softcap.map_or(score, |cap| {
                    f64::from(cap) * (score / f64::from(cap)).tanh()
                }));
            }
            let top = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - top).exp()).collect();
            let sum: f64 = weights.iter().sum();
            let tallest = numbers.v[first..=position]
                .iter()
                .flat_map(|value| value[own.clone()].iter().map(|v| stored(v).abs()))
                .fold(0.0, f64::max);
            let steps =
                (width + 8) as f64 * largest + 8.0 * top.abs().max(1.0) + scores.len() as f64;
            let bound = tallest * (2.0 * steps + 40.0) * f64::from(f32::EPSILON) / 2.0;
            for d in own {
                let values = numbers.v[first..=position]
                    .iter()
                    .map(|value| stored(&value[d]));
                let o = weights.iter().zip(values).map(|(w, v)| w * v).sum::<f64>() / sum;
                outputs.push((o, bound));
            }
        }
        outputs
    }
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

fn sizes() -> impl Strategy<Value = Sizes> {
    let pick = prop_oneof![
        Just((1, 1)),
        Just((2, 2)),
        Just((3, 1)),
        Just((6, 2)),
        Just((8, 1)),
        Just((14, 2)),
    ];
    let width = prop_oneof![
        Just(64_usize),
        Just(8),
        Just(16),
        Just(40),
        Just(96),
        1_usize..80
    ];
    (pick, width).prop_map(|((heads, groups), width)| Sizes {
        heads,
        groups,
        width,
    })
}

fn options(scale: f32) -> impl Strategy<Value = Options> {
    let window = prop_oneof![Just(None), (1_usize..60).prop_map(Some)];
    let softcap = prop_oneof![Just(None), Just(Some(30.0_f32)), Just(Some(2.0))];
    (window, softcap).prop_map(move |(window, softcap)| Options {
        scale,
        window,
        softcap,
        threads: 1,
    })
}

/// (length, whole pages shared with the sequence before)
fn lengths() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((1_usize..110, 0_usize..6), 1..7)
}

fn company_changes_nothing<E: Element>(
    sizes: Sizes,
    lengths: &[(usize, usize)],
    options: &Options,
    seed: u64,
) {
    let tier = Tier::of_machine();
    let mut world = World::<E>::new(sizes, lengths, seed);
    let together = world.shuffled(tier, options, &mut Numbers(seed ^ 1));
    for (index, together) in together.iter().enumerate() {
        // Alone: in a pool that holds nothing else, token by token, or all at once by the portable instructions.
        let mut alone = World::<E>::new(sizes, lengths, seed);
        let mut single = Vec::new();
        for position in 0..lengths[index].0 {
            single.extend(alone.step(tier, &[(index, position, 1)], options));
        }
        assert_eq!(bits(together), bits(&single), "sequence {index}");
        let mut fresh = World::<E>::new(sizes, lengths, seed);
        let portable = fresh.step(Tier::Portable, &[(index, 0, lengths[index].0)], options);
        assert_eq!(
            bits(together),
            bits(&portable),
            "sequence {index}, portable"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn company_does_not_change_a_bit(
        sizes in sizes(), lengths in lengths(), options in options(0.3), seed in any::<u64>()
    ) {
        company_changes_nothing::<f32>(sizes, &lengths, &options, seed);
        company_changes_nothing::<Bf16>(sizes, &lengths, &options, seed);
    }

    #[test]
    fn branches_of_branches_have_the_bits_that_they_have_alone(
        sizes in sizes(), options in options(0.3), seed in any::<u64>(),
        lengths in prop::collection::vec((20_usize..100, 0_usize..6), 3..10),
    ) {
        let tier = Tier::of_machine();
        let mut world = World::<f32>::new(sizes, &lengths, seed);
        let (mut alone, mut rows) = (Vec::new(), Vec::new());
        for (index, &(length, _)) in lengths.iter().enumerate() {
            let outputs = world.step(tier, &[(index, 0, length)], &options);
            // The last tokens again, where no other sequence has their pages.
            let size = sizes.heads * sizes.width;
            let tokens = 1 + (seed as usize + index) % 3;
            let table = &world.sequences[index].table;
            let written = &table[(length - tokens) / PAGE_TOKENS..];
            let others = world.sequences.iter().enumerate().filter(|(other, _)| *other != index);
            if others.clone().all(|(_, other)| written.iter().all(|page| !other.table.contains(page))) {
                rows.push((index, length - tokens, tokens));
                alone.extend_from_slice(&outputs[(length - tokens) * size..]);
            }
        }
        let together = world.step(tier, &rows, &Options { threads: 2, ..options });
        prop_assert_eq!(bits(&together), bits(&alone));
    }

    #[test]
    fn outputs_are_within_the_bound_of_the_definition_s(
        sizes in sizes(), length in 1_usize..200, options in options(0.3), seed in any::<u64>(),
        scale in prop_oneof![Just(0.125_f32), Just(1.0), Just(-0.5), Just(40.0)],
    ) {
        let options = Options { scale, ..options };
        let mut world = World::<f32>::new(sizes, &[(length, 0)], seed);
        let found = world.step(Tier::of_machine(), &[(0, 0, length)], &options);
        let mut stored = World::<Bf16>::new(sizes, &[(length, 0)], seed);
        let rounded = stored.step(Tier::of_machine(), &[(0, 0, length)], &options);
        let size = sizes.heads * sizes.width;
        for position in 0..length {
            let place = position * size..(position + 1) * size;
            for (found, (expected, bound)) in found[place.clone()].iter().zip(world.defined(0, position, &options)) {
                prop_assert!((f64::from(*found) - expected).abs() <= bound, "{found} {expected} {bound}");
            }
            for (found, (expected, bound)) in rounded[place].iter().zip(stored.defined(0, position, &options)) {
                prop_assert!((f64::from(*found) - expected).abs() <= bound, "{found} {expected} {bound}");
            }
        }
    }
}

#[test]
fn every_tier_gives_the_bits_of_the_portable_one() {
    let sizes = Sizes {
        heads: 6,
        groups: 2,
        width: 72,
    };
    for softcap in [None, Some(5.0)] {
        let options = Options {
            scale: 0.5,
            window: Some(50),
            softcap,
            threads: 2,
        };
        let mut world = World::<Bf16>::new(sizes, &[(90, 0)], 3);
        let expected = world.step(Tier::Portable, &[(0, 0, 90)], &options);
        for tier in Tier::available() {
            assert_eq!(
                bits(&world.step(tier, &[(0, 0, 90)], &options)),
                bits(&expected),
                "{tier:?}"
            );
        }
    }
}

#[test]
fn a_key_that_is_nan_makes_nan_of_those_that_see_it_only() {
    let sizes = Sizes {
        heads: 2,
        groups: 1,
        width: 16,
    };
    let options = Options {
        scale: 1.0,
        window: None,
        softcap: None,
        threads: 1,
    };
    for broken in [0, 5, 16, 31, 38] {
        let mut world = World::<f32>::new(sizes, &[(40, 0)], 3);
        let clean = world.step(Tier::of_machine(), &[(0, 0, 40)], &options);
        for values in [false, true] {
            let mut world = World::<f32>::new(sizes, &[(40, 0)], 3);
            let sequence = &mut world.sequences[0];
            let list = if values {
                &mut sequence.v
            } else {
                &mut sequence.k
            };
            list[broken].fill(f32::NAN);
            let found = world.step(Tier::of_machine(), &[(0, 0, 40)], &options);
            let (before, after) = found.split_at(broken * 32);
            assert_eq!(bits(before), bits(&clean[..broken * 32]));
            assert!(after.iter().all(|x| x.is_nan()), "position {broken}");
        }
    }
}

#[test]
fn infinite_scores_are_those_of_a_softmax() {
    let sizes = Sizes {
        heads: 1,
        groups: 1,
        width: 1,
    };
    let options = Options {
        scale: 1.0,
        window: None,
        softcap: None,
        threads: 1,
    };
    let mut world = World::<f32>::new(sizes, &[(20, 0)], 3);
    for position in 0..20 {
        world.sequences[0].q[position][0] = 1.0;
        world.sequences[0].k[position][0] = f32::NEG_INFINITY;
        world.sequences[0].v[position][0] = 2.0;
    }
    world.sequences[0].k[18][0] = 1.0;
    let found = world.step(Tier::of_machine(), &[(0, 0, 20)], &options);
    assert!(found[..18].iter().all(|x| x.is_nan()));
    assert_eq!(found[18..], [2.0, 2.0]);
}

mod refused {
    use super::*;

    fn plan(first: &[i32], seen: &[i32], tables: &[&[i32]]) -> Error {
        Plan::new(first, seen, tables).unwrap_err()
    }

    #[test]
    fn plans() {
        assert!(matches!(plan(&[0], &[0], &[&[0]]), Error::Rows { .. }));
        assert!(matches!(plan(&[0, 1], &[0], &[]), Error::Rows { .. }));
        assert!(matches!(plan(&[], &[], &[]), Error::Rows { .. }));
        assert!(matches!(
            plan(&[1, 2], &[0], &[&[0]]),
            Error::First { row: 0, .. }
        ));
        assert!(matches!(
            plan(&[0, 2, 1], &[0, 0], &[&[0], &[1]]),
            Error::First {
                row: 2,
                value: 1,
                before: 2
            }
        ));
        assert!(matches!(
            plan(&[0, 1], &[-1], &[&[0]]),
            Error::Seen { value: -1, .. }
        ));
        assert!(matches!(
            plan(&[0, 1], &[i32::MAX], &[&[0]]),
            Error::Seen { .. }
        ));
        assert!(matches!(
            plan(&[0, 1], &[16], &[&[0]]),
            Error::Table {
                pages: 1,
                needed: 2,
                ..
            }
        ));
        assert!(matches!(
            plan(&[0, 1], &[16], &[&[0, -3]]),
            Error::Page {
                column: 1,
                value: -3,
                ..
            }
        ));
        assert_eq!(
            plan(&[0, 1, 3], &[4, 3], &[&[7], &[7]]),
            Error::Written {
                row: 0,
                other: 1,
                page: 7,
                slot: 4
            }
        );
        assert!(Plan::new(&[0, 1, 3], &[4, 5], &[[7], [7]]).is_ok());
        assert!(
            Plan::new(&[0, 0], &[40], &[[7]]).is_ok(),
            "a row without tokens needs no pages"
        );
    }

    #[test]
    fn operands() {
        let plan = Plan::new(&[0, 1], &[0], &[[2]]).unwrap();
        let shape = Shape {
            pages: 2,
            groups: 2,
            width: 8,
        };
        let mut pool = vec![0.0_f32; 2 * 2 * 8 * 16];
        let options = Options {
            scale: 1.0,
            window: None,
            softcap: None,
            threads: 1,
        };
        let call = |pool: &[f32], shape, q: &[f32], heads| {
            let pages = Pages {
                keys: pool,
                values: pool,
                shape,
            };
            attend(&plan, q, heads, &pages, &options).unwrap_err()
        };
        assert_eq!(
            call(&pool, shape, &[0.0; 32], 4),
            Error::Pool { page: 2, pages: 2 }
        );
        assert!(matches!(
            call(&pool, shape, &[0.0; 31], 4),
            Error::Numbers { name: "q", .. }
        ));
        assert!(matches!(
            call(&pool[1..], shape, &[0.0; 32], 4),
            Error::Numbers { .. }
        ));
        assert!(matches!(
            call(&pool, shape, &[0.0; 24], 3),
            Error::Heads { heads: 3, .. }
        ));
        let (none, token) = (Shape { width: 0, ..shape }, [0.0; 16]);
        assert!(matches!(
            call(&[], none, &[], 4),
            Error::Heads { width: 0, .. }
        ));
        let mut other = pool.clone();
        let found = write(&plan, &token, &token, &mut pool, &mut other, shape);
        assert_eq!(found, Err(Error::Pool { page: 2, pages: 2 }));
        let found = write(&plan, &token[1..], &token, &mut pool, &mut other, shape);
        assert!(matches!(found, Err(Error::Numbers { name: "k", .. })));
        let found = write(&plan, &token, &token, &mut pool, &mut other[1..], shape);
        assert!(matches!(
            found,
            Err(Error::Numbers {
                name: "v_pages",
                ..
            })
        ));
    }
}
