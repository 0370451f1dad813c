//! Mixtures: proportions in tokens, epochs, and independence of how sources are given.

#![allow(clippy::unwrap_used)]

mod corpus;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use stategpt_packing::{
    Mixture, PackConfig, Packed, PackingError, Rows, Schedule, Source, SourceSize,
    Strategy as Packing, row_shares, strategy,
};

use corpus::Corpus;

/// Sources and the folders they read from.
struct Sources {
    sources: Vec<Source>,
    _corpora: Vec<Corpus>,
}

fn packing(name: &str) -> Packing {
    strategy(name).unwrap()
}

fn packed(corpus: &Corpus) -> Arc<Packed> {
    let config = PackConfig {
        row_tokens: 16,
        strategy: packing("best_fit"),
        isolate_documents: true,
        reject_too_long: false,
        seed: 0,
    };
    Arc::new(Packed::new(Arc::new(corpus.open()), config).unwrap())
}

/// Sources given by name, lengths of documents and proportion.
fn sources(given: &[(&str, &[usize], f64)]) -> Sources {
    let corpora: Vec<Corpus> = given
        .iter()
        .map(|(_, lengths, _)| Corpus::of_lengths(lengths, 1 << 20, false))
        .collect();
    let source = |(corpus, (name, _, proportion)): (&Corpus, &(&str, &[usize], f64))| Source {
        name: name.to_string(),
        packed: packed(corpus),
        proportion: *proportion,
    };
    Sources {
        sources: corpora.iter().zip(given).map(source).collect(),
        _corpora: corpora,
    }
}

fn three_sources() -> Sources {
    // Rows of "long" are nearly full; those of "odd" hold one segment of 11 tokens and 5 of padding.
    sources(&[
        ("short", &[3; 150], 0.3),
        ("long", &[64; 20], 0.6),
        ("odd", &[10; 40], 0.1),
    ])
}

#[test]
fn shares_are_of_tokens_not_of_rows() {
    let given = three_sources();
    let mixture = Mixture::new(given.sources.clone(), 1, None).unwrap();
    let rows = mixture.block_rows() * 4;
    let report = mixture.report(rows);
    let all: u64 = report.iter().map(|drawn| drawn.tokens).sum();
    for (drawn, source) in report.iter().zip(mixture.sources()) {
        let share = drawn.tokens as f64 / all as f64;
        assert!(
            (share - source.proportion).abs() < 1e-3,
            "{}: {share}",
            source.name
        );
        assert!((drawn.planned_share - source.proportion).abs() < 1e-12);
    }
    assert_eq!(report.iter().map(|drawn| drawn.rows).sum::<u64>(), rows);
}

#[test]
fn the_report_counts_the_tokens_of_the_rows() {
    let given = three_sources();
    let mixture = Mixture::new(given.sources.clone(), 1, None).unwrap();
    let mut counted = vec![0; 3];
    for row in 0..500 {
        let origin = mixture.origin(row).unwrap();
        let batch = mixture.batch(row, 1, 1).unwrap();
        counted[origin.source] += batch.target_count();
        let reported: Vec<u64> = mixture
            .report(row + 1)
            .iter()
            .map(|drawn| drawn.tokens)
            .collect();
        assert_eq!(reported, counted, "row {row}");
    }
}

#[test]
fn each_row_comes_once_in_an_epoch_and_epochs_differ_in_order() {
    let given = three_sources();
    let mixture = Mixture::new(given.sources.clone(), 1, None).unwrap();
    let mut orders: BTreeMap<(usize, u64), Vec<u64>> = BTreeMap::new();
    for row in 0..2000 {
        let origin = mixture.origin(row).unwrap();
        orders
            .entry((origin.source, origin.epoch))
            .or_default()
            .push(origin.plan_row);
    }
    for (number, source) in mixture.sources().iter().enumerate() {
        let epochs: Vec<&Vec<u64>> = (0..)
            .map_while(|epoch| orders.get(&(number, epoch)))
            .collect();
        assert!(epochs.len() > 2, "{}", source.name);
        for order in &epochs[..epochs.len() - 1] {
            let mut sorted = (*order).clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..source.packed.num_rows()).collect::<Vec<_>>());
        }
        assert_ne!(epochs[0], epochs[1], "{}", source.name);
    }
}

#[test]
fn sources_may_be_named_in_any_order() {
    let given = three_sources();
    let sources = &given.sources;
    let forward = Mixture::new(sources.clone(), 1, None).unwrap();
    let backward = Mixture::new(sources.iter().rev().cloned().collect(), 1, None).unwrap();
    assert_eq!(forward.fingerprint(), backward.fingerprint());
    for row in 0..300 {
        assert_eq!(
            forward.batch(row, 1, 1).unwrap(),
            backward.batch(row, 1, 1).unwrap()
        );
    }
}

#[test]
fn every_setting_but_the_limit_changes_the_fingerprint() {
    let given = three_sources();
    let sources = &given.sources;
    let changed = |proportion| {
        let mut sources = sources.clone();
        sources[0].proportion = proportion;
        sources
    };
    let renamed = |name: &str| {
        let mut sources = sources.clone();
        sources[0].name = name.to_string();
        sources
    };
    let fingerprint = |sources: Vec<Source>, seed, limit| {
        Mixture::new(sources, seed, limit)
            .unwrap()
            .fingerprint()
            .to_string()
    };
    let mut all = vec![
        fingerprint(sources.clone(), 1, None),
        fingerprint(sources.clone(), 2, None),
        fingerprint(changed(0.31), 1, None),
        fingerprint(renamed("other"), 1, None),
        fingerprint(sources[..2].to_vec(), 1, None),
    ];
    assert_eq!(all[0], fingerprint(sources.clone(), 1, Some(3.0)));
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 5);
}

#[test]
fn the_limit_ends_the_order_at_the_first_row_beyond_it() {
    let given = three_sources();
    for max_epochs in [0.5, 1.0, 2.5] {
        let mixture = Mixture::new(given.sources.clone(), 1, Some(max_epochs)).unwrap();
        let end = mixture.rows().unwrap();
        let drawn = mixture.report(end);
        assert!(drawn.iter().all(|drawn| drawn.epochs <= max_epochs));
        mixture.batch(end - 1, 1, 1).unwrap();
        let error = mixture.batch(end, 1, 1).unwrap_err();
        assert!(
            matches!(&error, PackingError::Exhausted { row, .. } if *row == end),
            "{error}"
        );
    }
    assert_eq!(Mixture::new(given.sources, 1, None).unwrap().rows(), None);
}

#[test]
fn mixtures_that_cannot_be_drawn_are_refused() {
    let bad: [(Sources, Option<f64>, &str); 4] = [
        (sources(&[]), None, "at least one source"),
        (
            sources(&[("a", &[3], 1.0), ("a", &[3], 1.0)]),
            None,
            "two sources",
        ),
        (sources(&[("a", &[3], -1.0)]), None, "positive"),
        (sources(&[("a", &[3], 1.0)]), Some(0.0), "max_epochs"),
    ];
    for (given, max_epochs, message) in bad {
        let error = Mixture::new(given.sources, 0, max_epochs)
            .unwrap_err()
            .to_string();
        assert!(error.contains(message), "{error}");
    }
}

/// The sources of LLaMA (2302.13971, table 1): share, epochs at 1.4 T tokens. Sizes are those the table implies.
const LLAMA: [(f64, f64); 7] = [
    (0.67, 1.10),
    (0.15, 1.06),
    (0.045, 0.64),
    (0.045, 2.45),
    (0.045, 2.23),
    (0.025, 1.06),
    (0.02, 1.03),
];

#[test]
fn llamas_run_ends_at_llamas_epochs() {
    let (run_tokens, row_tokens) = (1.4e12, 2048_u32);
    let sizes: Vec<SourceSize> = LLAMA
        .iter()
        .enumerate()
        .map(|(number, (share, epochs))| {
            let rows = (share * run_tokens / epochs / f64::from(row_tokens)) as u64;
            let tokens = rows * u64::from(row_tokens);
            SourceSize {
                rejected: 0,
                name: number.to_string(),
                proportion: *share,
                rows,
                tokens,
                row_tokens,
            }
        })
        .collect();
    let schedule = Schedule::new(&row_shares(&sizes).unwrap());
    let counts = schedule.counts((run_tokens / f64::from(row_tokens)) as u64);
    for ((count, size), (_, epochs)) in counts.iter().zip(&sizes).zip(LLAMA) {
        assert!((*count as f64 / size.rows as f64 - epochs).abs() < 1e-6);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn shares_hold_when_document_lengths_differ_a_hundredfold(
        short in 1_usize..6, share in 0.05_f64..0.95, seed: u64,
    ) {
        let given = sources(&[("a", &vec![short; 200], share), ("b", &[short * 100; 3], 1.0 - share)]);
        let mixture = Mixture::new(given.sources, seed, None).unwrap();
        let report = mixture.report(mixture.block_rows() * 16);
        let all: u64 = report.iter().map(|drawn| drawn.tokens).sum();
        prop_assert!((report[0].tokens as f64 / all as f64 - share).abs() < 1e-3);
    }
}
