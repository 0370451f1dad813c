//! Packing: first that the histogram plan has the row count of piece-by-piece best fit, that rows hold every token and that
//! work lists reach from the first key to the last query, then documents, rows and tokens per second.

#![allow(clippy::expect_used, reason = "a bench may panic")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stategpt_benches::packing_inputs::{
    DatasetFolder, histogram, lengths, packed_layout, rows_piece_by_piece,
};
use stategpt_layout::{Runs, SegmentLayout, Tiling, key_tiles, query_tiles};
use stategpt_packing::{
    Batch, Dataset, FittedPlan, PackConfig, Packed, Rows, Schedule, Scratch, Strategy, WHOLE,
    strategy,
};

fn packing(name: &str) -> Strategy {
    strategy(name).expect("a known strategy")
}

const DOCUMENTS: u64 = 10_000_000;
const STORED_DOCUMENTS: u64 = 200_000;

fn planning(criterion: &mut Criterion) {
    let small = histogram(STORED_DOCUMENTS, 545.0);
    let large = histogram(DOCUMENTS, 545.0);
    let mut group = criterion.benchmark_group("plan");
    group.sample_size(20);
    for row_tokens in [2048_u32, 8192, 32_768] {
        let rows = FittedPlan::new(&small, row_tokens, false, 0).rows();
        assert_eq!(rows, rows_piece_by_piece(&small, u64::from(row_tokens)));
        let plan = FittedPlan::new(&large, row_tokens, false, 0);
        let tokens = large.tokens() + large.documents();
        let fill = tokens as f64 / (plan.rows() * u64::from(row_tokens)) as f64;
        println!(
            "T={row_tokens}: {} rows, {} moves, {:.4} % filled",
            plan.rows(),
            plan.moves(),
            100.0 * fill
        );
        group.throughput(Throughput::Elements(DOCUMENTS));
        group.bench_function(format!("best_fit/{row_tokens}"), |bencher| {
            bencher.iter(|| FittedPlan::new(black_box(&large), row_tokens, false, 0));
        });
    }
    group.finish();
}

fn config(strategy: Strategy) -> PackConfig {
    PackConfig {
        row_tokens: 2048,
        strategy,
        isolate_documents: true,
        reject_too_long: false,
        seed: 0,
    }
}

fn reading(criterion: &mut Criterion) {
    let folder =
        DatasetFolder::write(STORED_DOCUMENTS, 150.0).expect("room in the temporary folder");
    let dataset = Arc::new(Dataset::open(folder.path()).expect("just written"));
    let mut group = criterion.benchmark_group("rows");
    group.sample_size(20);
    group.throughput(Throughput::Elements(STORED_DOCUMENTS));
    group.bench_function("pack/best_fit", |bencher| {
        bencher.iter(|| {
            Packed::new(Arc::clone(&dataset), config(packing("best_fit"))).expect("valid shards")
        });
    });
    for strategy in [packing("best_fit"), packing("concat")] {
        let packed = Packed::new(Arc::clone(&dataset), config(strategy)).expect("valid shards");
        assert_eq!(tokens_in_rows(&packed), dataset.stream_tokens());
        group.throughput(Throughput::Elements(64 * 2048));
        let mut first = 0;
        group.bench_function(format!("batch/{}", strategy.name()), |bencher| {
            bencher.iter(|| {
                first = (first + 64) % (packed.num_rows() - 64);
                packed.batch(first, 64, 64).expect("valid shards")
            });
        });
    }
    group.finish();
}

fn tokens_in_rows(packed: &Packed) -> u64 {
    let mut scratch = Scratch::default();
    let trained = |row| {
        let mut batch = Batch::new(1, 2048, 0).expect("one row is small");
        packed
            .write(row, &mut batch, 0, &mut scratch)
            .expect("valid shards");
        batch.target_count()
    };
    (0..packed.num_rows()).map(trained).sum()
}

fn mixing(criterion: &mut Criterion) {
    // Ten sources, the smallest with one row in a hundred.
    let mut shares: Vec<u64> = [30, 20, 15, 10, 8, 6, 5, 3, 2]
        .iter()
        .map(|percent| WHOLE / 100 * percent)
        .collect();
    shares.push(WHOLE - shares.iter().sum::<u64>());
    let schedule = Schedule::new(&shares);
    let mut group = criterion.benchmark_group("mixture");
    group.throughput(Throughput::Elements(1000));
    let mut row = 0;
    group.bench_function("draw/in order", |bencher| {
        bencher.iter(|| {
            row += 1000;
            (row..row + 1000)
                .map(|row| schedule.draw(row).index)
                .sum::<u64>()
        });
    });
    group.finish();
}

fn attention(criterion: &mut Criterion) {
    let documents = lengths(1000, 490.0);
    let streams = [
        (
            "64k in documents",
            packed_layout(&documents, 1 << 16).expect("it fits in memory"),
        ),
        (
            "256k in one",
            packed_layout(&[1 << 18], 1 << 18).expect("it fits in memory"),
        ),
        (
            "64k of padding",
            packed_layout(&[], 1 << 16).expect("it fits in memory"),
        ),
        (
            "256k in documents",
            packed_layout(&documents, 1 << 18).expect("it fits in memory"),
        ),
    ];
    let tiling = Tiling::new(128, 128, None).expect("in range");
    let mut group = criterion.benchmark_group("attention");
    for (name, stream) in &streams {
        check_work_list(stream, &tiling);
        let layout = stream.view(stream.position.len());
        group.throughput(Throughput::Elements(stream.position.len() as u64));
        group.bench_function(format!("validate/{name}"), |bencher| {
            bencher.iter(|| black_box(&layout).validate());
        });
        group.bench_function(format!("both lists/{name}"), |bencher| {
            bencher.iter(|| {
                let runs = Runs::of(black_box(&layout)).expect("valid");
                (query_tiles(&runs, &tiling), key_tiles(&runs, &tiling))
            });
        });
    }
    group.finish();
}

/// In packed documents a query sees from its segment's start, a key is seen to its segment's end.
fn check_work_list(stream: &SegmentLayout, tiling: &Tiling) {
    let runs = Runs::of(&stream.view(stream.position.len())).expect("valid");
    let starts = &stream.segment_start;
    for tile in query_tiles(&runs, tiling) {
        assert_eq!(tile.near_lo, starts[tile.q0 as usize]);
        let keys = (tile.q0 - tile.near_lo + 128) as usize;
        assert_eq!(tile.steps as usize, keys.div_ceil(128));
    }
    for tile in key_tiles(&runs, tiling) {
        let last = tile.k0 as usize + 127;
        let alike = starts[last..]
            .iter()
            .take_while(|start| **start == starts[last]);
        assert_eq!(tile.q_lo, tile.k0);
        assert_eq!(tile.steps as usize, (127 + alike.count()).div_ceil(128));
    }
}

criterion_group!(benches, planning, reading, mixing, attention);
criterion_main!(benches);
