//! Rows of packed data sets: conservation, borders, masks and padding, over any documents and any row length.

#![allow(clippy::unwrap_used)]

mod corpus;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use stategpt_packing::{
    Batch, NO_DOCUMENT, PackConfig, Packed, PackingError, Rows, STRATEGIES, Strategy as Packing,
    strategy,
};

use corpus::{Corpus, END_OF_TEXT, PADDING};

fn packing(name: &str) -> Packing {
    strategy(name).unwrap()
}

fn config(row_tokens: u32, strategy: Packing, isolate_documents: bool) -> PackConfig {
    PackConfig {
        row_tokens,
        strategy,
        isolate_documents,
        reject_too_long: false,
        seed: 5,
    }
}

fn corpora() -> impl Strategy<Value = Corpus> {
    (
        proptest::collection::vec(0_usize..40, 1..25),
        20_u64..500,
        any::<bool>(),
    )
        .prop_map(|(lengths, max_tokens, masked)| Corpus::of_lengths(&lengths, max_tokens, masked))
}

fn packings() -> impl Strategy<Value = PackConfig> {
    (
        2_u32..45,
        prop_oneof![Just(packing("concat")), Just(packing("best_fit"))],
        any::<bool>(),
    )
        .prop_map(|(row_tokens, strategy, isolate)| config(row_tokens, strategy, isolate))
}

/// The tokens of each document in a batch with the place in its segment that the first of a run has, by following runs.
fn targets_by_document(batch: &Batch) -> BTreeMap<u64, Vec<(u32, u32, bool)>> {
    let mut found: BTreeMap<u64, Vec<(u32, u32, bool)>> = BTreeMap::new();
    for at in 0..batch.tokens.len() {
        if batch.doc_ids[at] != NO_DOCUMENT {
            let entry = (batch.tokens[at], batch.targets[at], batch.loss_mask[at]);
            found.entry(batch.doc_ids[at]).or_default().push(entry);
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Every (input, target, trained) triple of every segment is in the rows exactly once.
    #[test]
    fn nothing_is_lost_or_repeated(corpus in corpora(), config in packings()) {
        let packed = Packed::new(Arc::new(corpus.open()), config).unwrap();
        let batch = packed.batch(0, packed.num_rows(), packed.num_rows()).unwrap();
        let mut found = targets_by_document(&batch);
        let mut expected = corpus.segments();
        found.values_mut().chain(expected.values_mut()).for_each(|triples| triples.sort_unstable());
        prop_assert_eq!(found, expected);
        prop_assert_eq!(packed.tokens(), corpus.tokens() + corpus.documents.len() as u64);
    }

    #[test]
    fn padding_only_ends_a_row_and_is_never_trained(corpus in corpora(), config in packings()) {
        let packed = Packed::new(Arc::new(corpus.open()), config).unwrap();
        for row in 0..packed.num_rows() {
            let batch = packed.batch(row, 1, 1).unwrap();
            prop_assert_eq!(batch.tokens.len(), config.row_tokens as usize);
            let used = packed.used(packed.plan_row(row).unwrap()) as usize;
            prop_assert!(used > 0);
            for at in 0..batch.tokens.len() {
                let is_padding = batch.doc_ids[at] == NO_DOCUMENT;
                prop_assert_eq!(is_padding, at >= used);
                if is_padding {
                    prop_assert_eq!((batch.tokens[at], batch.targets[at]), (PADDING, PADDING));
                    prop_assert_eq!((batch.loss_mask[at], batch.layout.position[at]), (false, 0));
                    prop_assert_eq!(batch.layout.segment_start[at] as usize, at);
                }
            }
        }
    }

    /// Isolated: a segment is one document's and its last target is end of text. Not isolated: the row is one segment.
    #[test]
    fn segments_are_documents_or_the_row(corpus in corpora(), config in packings()) {
        let packed = Packed::new(Arc::new(corpus.open()), config).unwrap();
        let batch = packed.batch(0, packed.num_rows(), packed.num_rows()).unwrap();
        for at in (0..batch.tokens.len()).filter(|at| batch.doc_ids[*at] != NO_DOCUMENT) {
            let start = batch.layout.segment_start[at] as usize;
            prop_assert_eq!(batch.layout.position[at] as usize, at - start);
            prop_assert_eq!(at / config.row_tokens as usize, start / config.row_tokens as usize);
            if config.isolate_documents {
                prop_assert_eq!(batch.doc_ids[start], batch.doc_ids[at]);
                // A target is the next token of the same document, never the first of another.
                let next = at + 1;
                let goes_on = next < batch.tokens.len() && batch.layout.segment_start[next] as usize == start;
                if goes_on {
                    prop_assert_eq!(batch.targets[at], batch.tokens[next]);
                }
            } else {
                prop_assert_eq!(start % config.row_tokens as usize, 0);
            }
        }
    }

    #[test]
    fn best_fit_never_cuts_a_document_that_fits(corpus in corpora(), row_tokens in 2_u32..45) {
        let packed = Packed::new(Arc::new(corpus.open()), config(row_tokens, packing("best_fit"), true)).unwrap();
        let batch = packed.batch(0, packed.num_rows(), packed.num_rows()).unwrap();
        let mut pieces: BTreeMap<u64, u64> = BTreeMap::new();
        for at in (0..batch.tokens.len()).filter(|at| batch.layout.segment_start[*at] as usize == *at) {
            *pieces.entry(batch.doc_ids[at]).or_default() += 1;
        }
        for (document, ids) in corpus.documents.iter().enumerate() {
            let expected = (ids.len() as u64 + 1).div_ceil(u64::from(row_tokens));
            prop_assert_eq!(pieces[&corpus.doc_id(document)], expected, "document of {} tokens", ids.len());
        }
    }

    /// The talk's way, token by token: the stream EOS d1 ... dn EOS ... cut every T tokens.
    #[test]
    fn concat_is_the_stream_cut_into_rows(corpus in corpora(), row_tokens in 2_u32..45) {
        let packed = Packed::new(Arc::new(corpus.open()), config(row_tokens, packing("concat"), false)).unwrap();
        let mut stream: Vec<u32> =
            corpus.documents.iter().flat_map(|ids| std::iter::once(END_OF_TEXT).chain(ids.iter().copied())).collect();
        stream.push(END_OF_TEXT);
        for row in 0..packed.num_rows() {
            let start = packed.plan_row(row).unwrap() as usize * row_tokens as usize;
            let batch = packed.batch(row, 1, 1).unwrap();
            let used = (stream.len() - 1 - start).min(row_tokens as usize);
            prop_assert_eq!(&batch.tokens[..used], &stream[start..start + used]);
            prop_assert_eq!(&batch.targets[..used], &stream[start + 1..start + 1 + used]);
        }
    }

    #[test]
    fn rejecting_leaves_out_whole_documents_and_counts_them(corpus in corpora(), row_tokens in 2_u32..45) {
        let config = PackConfig { reject_too_long: true, ..config(row_tokens, packing("best_fit"), true) };
        let packed = Packed::new(Arc::new(corpus.open()), config).unwrap();
        let batch = packed.batch(0, packed.num_rows(), packed.num_rows()).unwrap();
        let mut expected = corpus.segments();
        let all = expected.len() as u64;
        expected.retain(|_, triples| triples.len() <= row_tokens as usize);
        expected.values_mut().for_each(|triples| triples.sort_unstable());
        let mut found = targets_by_document(&batch);
        found.values_mut().for_each(|triples| triples.sort_unstable());
        prop_assert_eq!(packed.rejected().documents, all - expected.len() as u64);
        prop_assert_eq!(packed.tokens(), expected.values().map(|triples| triples.len() as u64).sum::<u64>());
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn lengths_around_the_row_are_cut_only_when_they_must_be() {
    // Segments are one token longer than documents: 6, 7 and 8 tokens in rows of 8 make segments of 7, 8 and 9.
    for (tokens, rows) in [(6, 1), (7, 1), (8, 2), (15, 2), (16, 3)] {
        let corpus = Corpus::of_lengths(&[tokens], 100, false);
        for strategy in [packing("concat"), packing("best_fit")] {
            let packed = Packed::new(Arc::new(corpus.open()), config(8, strategy, true)).unwrap();
            assert_eq!(packed.num_rows(), rows, "{tokens} tokens, {strategy:?}");
        }
    }
}

#[test]
fn length_tells_nothing_about_the_place_in_the_order() {
    // Sorted packs have changed training elsewhere: rows must come in no order of length.
    let lengths: Vec<usize> = (0..2000).map(|i| 1 + i % 50).collect();
    let corpus = Corpus::of_lengths(&lengths, 1 << 20, false);
    let packed = Packed::new(
        Arc::new(corpus.open()),
        config(64, packing("best_fit"), true),
    )
    .unwrap();
    let batch = packed
        .batch(0, packed.num_rows(), packed.num_rows())
        .unwrap();
    let mut segments: BTreeMap<i32, u32> = BTreeMap::new();
    for at in (0..batch.tokens.len()).filter(|at| batch.doc_ids[*at] != NO_DOCUMENT) {
        *segments.entry(batch.layout.segment_start[at]).or_default() += 1;
    }
    // The middle of a segment: its start would tell that a long one cannot start late in a row.
    let middle = |start: i32, length: u32| f64::from(start) + f64::from(length) / 2.0;
    for place in [|at: f64| at, |at: f64| at % 64.0] {
        let points: Vec<(f64, f64)> = segments
            .iter()
            .map(|(start, length)| (place(middle(*start, *length)), f64::from(*length)))
            .collect();
        let r = correlation(&points);
        // Standard deviation of the correlation of independent points is 1 / sqrt(2000).
        assert!(r.abs() < 0.1, "{r}");
    }
}

fn correlation(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (mx, my) = (
        points.iter().map(|p| p.0).sum::<f64>() / n,
        points.iter().map(|p| p.1).sum::<f64>() / n,
    );
    let covariance: f64 = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
    let (vx, vy): (f64, f64) = (
        points.iter().map(|p| (p.0 - mx).powi(2)).sum(),
        points.iter().map(|p| (p.1 - my).powi(2)).sum(),
    );
    covariance / (vx * vy).sqrt()
}

#[test]
fn settings_out_of_range_are_refused() {
    let corpus = Corpus::of_lengths(&[3], 100, false);
    let dataset = Arc::new(corpus.open());
    for (row_tokens, strategy, reject) in [
        (1, packing("concat"), false),
        (0, packing("best_fit"), false),
        (8, packing("concat"), true),
    ] {
        let config = PackConfig {
            reject_too_long: reject,
            ..config(row_tokens, strategy, true)
        };
        let error = Packed::new(Arc::clone(&dataset), config).unwrap_err();
        assert!(matches!(error, PackingError::BadSetting { .. }), "{error}");
    }
    let packed = Packed::new(dataset, config(8, packing("concat"), true)).unwrap();
    assert!(matches!(
        packed.batch(1, 1, 1).unwrap_err(),
        PackingError::NoSuchRow { row: 1, rows: 1 }
    ));
    assert!(matches!(
        packed.batch(0, 0, 1 << 40).unwrap_err(),
        PackingError::BadSetting { .. }
    ));
}

#[test]
fn every_setting_changes_the_fingerprint() {
    let corpus = Corpus::of_lengths(&[3, 9, 30], 100, false);
    let base = config(8, packing("best_fit"), true);
    let settings = [
        base,
        PackConfig {
            row_tokens: 9,
            ..base
        },
        PackConfig {
            strategy: packing("concat"),
            ..base
        },
        PackConfig {
            isolate_documents: false,
            ..base
        },
        PackConfig {
            reject_too_long: true,
            ..base
        },
        PackConfig { seed: 6, ..base },
    ];
    let fingerprint = |corpus: &Corpus, config| {
        Packed::new(Arc::new(corpus.open()), config)
            .unwrap()
            .fingerprint()
            .to_string()
    };
    let mut all: Vec<String> = settings
        .iter()
        .map(|config| fingerprint(&corpus, *config))
        .collect();
    all.push(fingerprint(
        &Corpus::of_lengths(&[3, 9, 31], 100, false),
        base,
    ));
    all.sort();
    all.dedup();
    assert_eq!(all.len(), settings.len() + 1);
}

#[test]
fn every_strategy_is_found_by_its_name_and_another_name_lists_them() {
    for known in STRATEGIES {
        assert_eq!(packing(known.name()).name(), known.name());
    }
    let error = strategy("worst_fit").unwrap_err().to_string();
    assert_eq!(
        error,
        "strategy is worst_fit: it must be best_fit or concat"
    );
}
