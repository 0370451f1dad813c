//! Rankings: first that both arrangements show each reward token the same ids, then records and tokens per second.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use stategpt_benches::ranking_inputs::{jsonl, token_groups};
use stategpt_ranking::{Arrangement, Batch, Outcome, Reader, TokenGroup, arrange};

const RECORDS: usize = 2_000;
const REWARD: u32 = 2;
const PAD: u32 = 1;

fn reading(criterion: &mut Criterion) {
    let text = jsonl(RECORDS);
    let kept = Reader::new(text.as_slice())
        .filter(|outcome| matches!(outcome, Ok(Outcome::Kept { .. })))
        .count();
    assert_eq!(kept, RECORDS, "every generated record is valid");
    let mut group = criterion.benchmark_group("ranking");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("read", |bencher| {
        bencher.iter(|| Reader::new(text.as_slice()).count())
    });
    group.finish();
}

fn arranging(criterion: &mut Criterion) {
    let ids = token_groups(64, 9, 512, 256);
    let groups: Vec<TokenGroup<'_>> = ids
        .iter()
        .map(|(prompt, completions)| TokenGroup {
            prompt,
            completions: completions.iter().map(Vec::as_slice).collect(),
        })
        .collect();
    let laid_out = |arrangement| arrange(&groups, arrangement, REWARD, PAD).unwrap_or_default();
    let (rows, shared) = (
        laid_out(Arrangement::Rows),
        laid_out(Arrangement::SharedPrefix),
    );
    assert_eq!(seen_by_rewards(&rows), seen_by_rewards(&shared));
    println!(
        "tokens: {} in rows, {} with a shared prefix",
        rows.token_count, shared.token_count
    );
    let mut group = criterion.benchmark_group("arrange");
    for (name, arrangement, tokens) in [
        ("rows", Arrangement::Rows, rows.token_count),
        (
            "shared_prefix",
            Arrangement::SharedPrefix,
            shared.token_count,
        ),
    ] {
        group.throughput(Throughput::Elements(tokens as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(|| (), |()| laid_out(arrangement), BatchSize::LargeInput);
        });
    }
    group.finish();
}

/// Ids that each reward token sees.
fn seen_by_rewards(batch: &Batch) -> Vec<Vec<u32>> {
    let seen = |&index: &i64| {
        let token = index as usize;
        let prefix = batch.layout.segments.segment_start[token] as usize
            ..batch.layout.prefix_end[token] as usize;
        let branch = batch.layout.branch_start[token] as usize..token + 1;
        [&batch.tokens[prefix], &batch.tokens[branch]].concat()
    };
    batch.reward_index.iter().map(seen).collect()
}

criterion_group!(benches, reading, arranging);
criterion_main!(benches);
