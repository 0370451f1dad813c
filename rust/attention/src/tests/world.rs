//! Sequences with known numbers in a pool of pages, what attention gives for them, and what it should give.

use crate::attend::{Options, Pages, attend_on};
use crate::element::Element;
use crate::pages::{Shape, write};
use crate::plan::{PAGE_TOKENS, Plan};
use stategpt_simd::Tier;

/// Numbers that a seed gives, one after the other.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Of mean 0 and variance 1.
    pub fn vector(&mut self, count: usize) -> Vec<f32> {
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
pub struct Sizes {
    pub heads: usize,
    pub groups: usize,
    pub width: usize,
}

/// Query, key and value of every position.
#[derive(Debug, Clone)]
pub struct Sequence {
    pub q: Vec<Vec<f32>>,
    pub k: Vec<Vec<f32>>,
    pub v: Vec<Vec<f32>>,
    pub table: Vec<i32>,
}

/// Sequences, some of which begin with pages of the one before, in a pool whose other numbers are NaN.
pub struct World<E> {
    pub sizes: Sizes,
    pub sequences: Vec<Sequence>,
    pub shape: Shape,
    pub k_pages: Vec<E>,
    pub v_pages: Vec<E>,
}

impl<E: Element> World<E> {
    /// Sequences of these lengths; each shares whole pages with the one before, up to a limit.
    pub fn new(sizes: Sizes, lengths: &[(usize, usize)], seed: u64) -> Self {
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
    pub fn step(
        &mut self,
        tier: Tier,
        rows: &[(usize, usize, usize)],
        options: &Options,
    ) -> Vec<f32> {
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
    pub fn shuffled(
        &mut self,
        tier: Tier,
        options: &Options,
        numbers: &mut Numbers,
    ) -> Vec<Vec<f32>> {
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
    pub fn defined(&self, sequence: usize, position: usize, options: &Options) -> Vec<(f64, f64)> {
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
