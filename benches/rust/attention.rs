//! Attention over pages: first that sharing and division change no bit, then decoding of branches and prompts.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stategpt_attention::{Options, PAGE_TOKENS, Pages, Plan, Shape, attend, write};

const HEADS: usize = 9;
const SHAPE: Shape = Shape {
    pages: 256,
    groups: 3,
    width: 64,
};
const OPTIONS: Options = Options {
    scale: 0.125,
    window: None,
    softcap: None,
    threads: 1,
};

/// Numbers between -1 and 1.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64)
        .map(|i| (i + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40)
        .map(|bits| bits as f32 / 8_388_608.0 - 1.0)
        .collect()
}

struct Pool {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Pool {
    fn new() -> Self {
        let count = SHAPE.pages * SHAPE.groups * SHAPE.width * PAGE_TOKENS;
        Self {
            keys: numbers(count, 1),
            values: numbers(count, 2),
        }
    }

    fn attend(&self, plan: &Plan, q: &[f32]) -> Vec<f32> {
        let pages = Pages {
            keys: &self.keys,
            values: &self.values,
            shape: SHAPE,
        };
        attend(plan, q, HEADS, &pages, &OPTIONS).unwrap_or_default()
    }
}

/// Branches of a prompt of 32 pages, each with two more.
fn branches(rows: usize) -> (Vec<i32>, Vec<i32>, Vec<Vec<i32>>) {
    let tables = (0..rows as i32)
        .map(|row| (0..32).chain([32 + 2 * row, 33 + 2 * row]).collect())
        .collect();
    ((0..=rows as i32).collect(), vec![530; rows], tables)
}

fn decoding(criterion: &mut Criterion) {
    let pool = Pool::new();
    let mut group = criterion.benchmark_group("attention");
    for rows in [1, 64] {
        let (first, seen, tables) = branches(rows);
        let Ok(plan) = Plan::new(&first, &seen, &tables) else {
            continue;
        };
        let q = numbers(rows * HEADS * SHAPE.width, 3);
        let together = pool.attend(&plan, &q);
        for (row, (table, q)) in tables.iter().zip(q.chunks(HEADS * SHAPE.width)).enumerate() {
            let alone = Plan::new(&[0, 1], &[530], std::slice::from_ref(table)).unwrap_or_default();
            let place = row * q.len()..(row + 1) * q.len();
            assert_eq!(pool.attend(&alone, q), together[place]);
        }
        group.throughput(Throughput::Elements((rows * 531 * HEADS) as u64));
        group.bench_function(format!("decode_{rows}"), |bencher| {
            bencher.iter(|| pool.attend(&plan, &q))
        });
        group.bench_function(format!("plan_{rows}"), |bencher| {
            bencher.iter(|| Plan::new(&first, &seen, &tables))
        });
    }
    group.finish();
}

fn prompts(criterion: &mut Criterion) {
    let mut pool = Pool::new();
    let table: Vec<i32> = (0..32).rev().collect();
    let Ok(plan) = Plan::new(&[0, 512], &[0], &[table]) else {
        return;
    };
    let q = numbers(512 * HEADS * SHAPE.width, 3);
    let k = numbers(512 * SHAPE.groups * SHAPE.width, 4);
    let mut group = criterion.benchmark_group("attention");
    group.throughput(Throughput::Elements((512 * 513 / 2 * HEADS) as u64));
    group.bench_function("prompt_512", |bencher| {
        bencher.iter(|| pool.attend(&plan, &q))
    });
    group.throughput(Throughput::Elements(512));
    group.bench_function("write_512", |bencher| {
        bencher.iter(|| write(&plan, &k, &k, &mut pool.keys, &mut pool.values, SHAPE))
    });
    group.finish();
}

criterion_group!(benches, decoding, prompts);
criterion_main!(benches);
