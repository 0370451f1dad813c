//! The tokenizer: first that every way of calling it gives the same ids and the text comes back, then bytes per second.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use stategpt_benches::tokenizer_inputs::documents;
use stategpt_tokenizer::{Documents, Pattern, Special, Target, Tokenizer, Trainer, for_each_piece};

const CORPUS_BYTES: usize = 4 << 20;
const VOCABULARY: usize = 16_384;

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

fn encoding(criterion: &mut Criterion) {
    let texts = documents(CORPUS_BYTES);
    let bytes: usize = texts.iter().map(String::len).sum();
    let tokenizer = train(&texts, Pattern::Gpt4, VOCABULARY);
    let batch = tokenizer
        .encode_batch(&texts, Special::Text, Some(2))
        .unwrap_or_default();
    let alone: Vec<u32> = texts
        .iter()
        .flat_map(|text| {
            tokenizer
                .encode(text.as_bytes(), Special::Text)
                .unwrap_or_default()
        })
        .collect();
    assert_eq!(batch.ids, alone, "a batch is its documents one by one");
    let decoded = tokenizer.decode(&batch.ids, false).unwrap_or_default();
    assert_eq!(decoded, texts.concat().into_bytes(), "the text comes back");

    let mut group = criterion.benchmark_group("tokenizer");
    group
        .throughput(Throughput::Bytes(bytes as u64))
        .sample_size(20);
    for name in ["gpt2", "gpt4", "o200k"] {
        let Ok(pattern) = Pattern::named(name) else {
            continue;
        };
        group.bench_function(format!("scan_{name}"), |bencher| {
            bencher.iter(|| pieces(pattern, &texts));
        });
    }
    group.bench_function("encode_warm", |bencher| {
        bencher.iter(|| tokenizer.encode_batch(&texts, Special::Text, Some(1)));
    });
    group.bench_function("count_warm", |bencher| {
        bencher.iter(|| {
            let count = |text: &String| tokenizer.count(text.as_bytes(), Special::Text);
            texts.iter().map(count).sum::<Result<usize, _>>()
        });
    });
    group.bench_function("encode_2_threads", |bencher| {
        bencher.iter(|| tokenizer.encode_batch(&texts, Special::Text, Some(2)));
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| tokenizer.decode(&batch.ids, false));
    });
    group.finish();
}

fn pieces(pattern: Pattern, texts: &[String]) -> usize {
    let mut pieces = 0;
    for text in texts {
        for_each_piece(pattern, text.as_bytes(), |_, _| pieces += 1);
    }
    pieces
}

/// One long piece each: what makes a careless merge loop quadratic.
fn floods(criterion: &mut Criterion) {
    let tokenizer = train(&documents(1 << 20), Pattern::Gpt4, VOCABULARY);
    let mut group = criterion.benchmark_group("flood");
    for (name, unit) in [
        ("letter", "a"),
        ("pair", "ab"),
        ("space", " "),
        ("han", "数"),
    ] {
        let text = unit.repeat(200_000 / unit.len());
        let ids = tokenizer
            .encode(text.as_bytes(), Special::Text)
            .unwrap_or_default();
        let decoded = tokenizer.decode(&ids, false);
        assert_eq!(decoded.unwrap_or_default(), text.as_bytes());
        group
            .throughput(Throughput::Bytes(text.len() as u64))
            .sample_size(10);
        group.bench_function(name, |bencher| {
            bencher.iter(|| tokenizer.encode(text.as_bytes(), Special::Text));
        });
    }
    group.finish();
}

fn training(criterion: &mut Criterion) {
    let texts = documents(CORPUS_BYTES);
    let bytes: usize = texts.iter().map(String::len).sum();
    let one = train(&texts, Pattern::Gpt4, 1024);
    let reversed: Vec<String> = texts.iter().rev().cloned().collect();
    assert_eq!(
        one.fingerprint(),
        train(&reversed, Pattern::Gpt4, 1024).fingerprint()
    );
    let mut group = criterion.benchmark_group("train");
    group
        .throughput(Throughput::Bytes(bytes as u64))
        .sample_size(10);
    for vocab_size in [256, 4096, 32_768] {
        group.bench_function(vocab_size.to_string(), |bencher| {
            bencher.iter_batched(
                || (),
                |()| train(&texts, Pattern::Gpt4, vocab_size),
                BatchSize::LargeInput,
            );
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
    let mut group = criterion.benchmark_group("tokenizer_json");
    group
        .throughput(Throughput::Bytes(json.len() as u64))
        .sample_size(20);
    group.bench_function("load", |bencher| {
        bencher.iter(|| Tokenizer::from_json(json.as_bytes()).is_ok());
    });
    group.finish();
}

criterion_group!(benches, encoding, floods, training, loading);
criterion_main!(benches);
