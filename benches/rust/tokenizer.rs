//! Tokenizer benchmark: first checks that every kind of call gives the same ids and that the text comes back, then measures bytes
//! per second.
//!
//! *Warm*: the pre-tokens of the documents are in the cache. *Cold*: the engine has encoded nothing yet.

use std::time::Duration;

use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use stategpt_benches::tokenizer_inputs::{documents, floods, multilingual};
use stategpt_tokenizer::{
    Documents, Model, Pattern, Special, Target, Tokenizer, Trainer, for_each_pre_token,
};

const CORPUS_BYTES: usize = 4 << 20;
const FLOOD_BYTES: usize = 1_000_000;
const VOCABULARY: usize = 16_384;
const PATTERNS: [&str; 4] = ["gpt2", "gpt4", "qwen", "o200k"];

fn train(texts: &[String], pattern: Pattern, vocab_size: usize) -> Tokenizer {
    let mut trainer = Trainer::new(pattern, Documents::Whole, Some(1));
    let target = Target {
        vocab_size,
        ..Target::default()
    };
    match trainer.feed(texts).and_then(|()| trainer.train(&target)) {
        Ok(tokenizer) => tokenizer,
        Err(error) => unreachable!("generated text trains: {error}"),
    }
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer
        .encode(text.as_bytes(), Special::Text)
        .unwrap_or_default()
}

fn batch(tokenizer: &Tokenizer, texts: &[String], threads: usize) -> Vec<u32> {
    tokenizer
        .encode_batch(texts, Special::Text, Some(threads))
        .map_or_else(|_| Vec::new(), |ragged| ragged.ids)
}

/// An engine that has encoded nothing yet.
fn fresh(model: &Model) -> Tokenizer {
    match Tokenizer::new(model.clone()) {
        Ok(tokenizer) => tokenizer,
        Err(error) => unreachable!("the model is a tokenizer's: {error}"),
    }
}

/// A group whose throughput is that of the texts.
fn group<'c>(
    criterion: &'c mut Criterion,
    name: &str,
    texts: &[String],
) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    let bytes: usize = texts.iter().map(String::len).sum();
    group
        .throughput(Throughput::Bytes(bytes as u64))
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    group
}

fn named(name: &str) -> Pattern {
    match Pattern::named(name) {
        Ok(pattern) => pattern,
        Err(error) => unreachable!("the pattern has a name: {error}"),
    }
}

fn encoding(criterion: &mut Criterion) {
    for (kind, texts) in [
        ("prose", documents(CORPUS_BYTES)),
        ("multilingual", multilingual(CORPUS_BYTES)),
    ] {
        for name in PATTERNS {
            let pattern = named(name);
            let tokenizer = train(&texts, pattern, VOCABULARY);
            let together = batch(&tokenizer, &texts, 2);
            let alone: Vec<u32> = texts
                .iter()
                .flat_map(|text| ids(&tokenizer, text))
                .collect();
            assert_eq!(together, alone, "a batch is its documents one by one");
            let decoded = tokenizer.decode(&together, false).unwrap_or_default();
            assert_eq!(decoded, texts.concat().into_bytes(), "the text comes back");

            let mut group = group(criterion, &format!("{kind}/{name}"), &texts);
            group.bench_function("scan", |bencher| bencher.iter(|| pieces(pattern, &texts)));
            group.bench_function("encode_warm", |bencher| {
                bencher.iter(|| batch(&tokenizer, &texts, 1))
            });
            group.bench_function("encode_cold", |bencher| {
                bencher.iter_batched_ref(
                    || fresh(tokenizer.model()),
                    |tokenizer| batch(tokenizer, &texts, 1),
                    BatchSize::PerIteration,
                );
            });
            group.finish();
        }
    }
}

fn pieces(pattern: Pattern, texts: &[String]) -> usize {
    let mut pieces = 0;
    for text in texts {
        for_each_pre_token(pattern, text.as_bytes(), |_, _| pieces += 1);
    }
    pieces
}

/// The kinds of calls.
fn calls(criterion: &mut Criterion) {
    let texts = documents(CORPUS_BYTES);
    let tokenizer = train(&texts, Pattern::Gpt4, VOCABULARY);
    let all = batch(&tokenizer, &texts, 1);
    assert_eq!(all, batch(&tokenizer, &texts, 2), "the same on two threads");
    let mut group = group(criterion, "calls", &texts);
    group.bench_function("one_by_one", |bencher| {
        bencher.iter(|| {
            texts
                .iter()
                .map(|text| ids(&tokenizer, text).len())
                .sum::<usize>()
        });
    });
    group.bench_function("batch_2_threads", |bencher| {
        bencher.iter(|| batch(&tokenizer, &texts, 2))
    });
    group.bench_function("count", |bencher| {
        let count = |text: &String| {
            tokenizer
                .count(text.as_bytes(), Special::Text)
                .unwrap_or_default()
        };
        bencher.iter(|| texts.iter().map(count).sum::<usize>());
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| tokenizer.decode(&all, false))
    });
    group.finish();
}

/// Pre-tokens of hundreds of bytes, all distinct: no cache has them.
fn long_pieces(criterion: &mut Criterion) {
    let tokenizer = train(&documents(1 << 20), Pattern::Gpt4, VOCABULARY);
    let words = documents(CORPUS_BYTES);
    let letters =
        |text: &String| -> String { text.chars().filter(char::is_ascii_alphabetic).collect() };
    for length in [20, 60, 500] {
        let texts: Vec<String> = words
            .iter()
            .map(|text| spaced(&letters(text), length))
            .collect();
        let bytes: usize = texts.iter().map(String::len).sum();
        let decoded = tokenizer
            .decode(&batch(&tokenizer, &texts, 1), false)
            .unwrap_or_default();
        assert_eq!(decoded, texts.concat().into_bytes());
        let mut group = group(criterion, "long_pieces", &texts);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("{length}_bytes"), |bencher| {
            bencher.iter(|| batch(&tokenizer, &texts, 1))
        });
        group.finish();
    }
}

/// `letters` (ASCII) with a space after every `length` of them.
fn spaced(letters: &str, length: usize) -> String {
    let parts: Vec<String> = letters
        .as_bytes()
        .chunks(length)
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect();
    parts.join(" ")
}

/// One kind of character each, on which a naive merge loop is quadratic.
fn flooding(criterion: &mut Criterion) {
    let tokenizer = train(&documents(1 << 20), Pattern::Gpt4, VOCABULARY);
    for (name, text) in floods(FLOOD_BYTES) {
        let texts = [text];
        let decoded = tokenizer.decode(&ids(&tokenizer, &texts[0]), false);
        assert_eq!(decoded.unwrap_or_default(), texts[0].as_bytes());
        let mut group = group(criterion, "flood", &texts);
        group.sample_size(10);
        group.bench_function(name, |bencher| bencher.iter(|| ids(&tokenizer, &texts[0])));
        group.finish();
    }
}

fn training(criterion: &mut Criterion) {
    let texts = documents(CORPUS_BYTES);
    let one = train(&texts, Pattern::Gpt4, 1024);
    let reversed: Vec<String> = texts.iter().rev().cloned().collect();
    assert_eq!(
        one.fingerprint(),
        train(&reversed, Pattern::Gpt4, 1024).fingerprint()
    );
    let mut group = group(criterion, "train", &texts);
    group.sample_size(10);
    for (name, vocab_size) in [
        ("gpt4", 256),
        ("gpt4", 4096),
        ("gpt2", 32_768),
        ("gpt4", 32_768),
        ("o200k", 32_768),
    ] {
        let pattern = named(name);
        group.bench_function(format!("{name}/{vocab_size}"), |bencher| {
            bencher.iter_with_large_drop(|| train(&texts, pattern, vocab_size));
        });
    }
    group.finish();
}

/// From the text of a tokenizer.json to an engine.
fn loading(criterion: &mut Criterion) {
    let tokenizer = train(&documents(CORPUS_BYTES), Pattern::Gpt4, VOCABULARY);
    let json = tokenizer.to_json();
    let again = Tokenizer::from_json(json.as_bytes());
    assert!(again.is_ok_and(|again| again.fingerprint() == tokenizer.fingerprint()));
    let mut group = group(criterion, "tokenizer_json", std::slice::from_ref(&json));
    group.bench_function("load", |bencher| {
        bencher.iter(|| Tokenizer::from_json(json.as_bytes()).is_ok())
    });
    group.finish();
}

criterion_group!(
    benches,
    encoding,
    calls,
    long_pieces,
    flooding,
    training,
    loading
);
criterion_main!(benches);
