//! Writing and reading token shards: round trip, formats, and damage that must not pass.

#![allow(clippy::unwrap_used)]

mod corpus;

use std::fs;

use proptest::prelude::*;
use stategpt_packing::{Dataset, DocumentRef, HEADER_BYTES, PackingError, Provenance, ShardWriter};
use stategpt_storage::StorageError;

use corpus::{Corpus, vocabulary};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn documents_come_back_as_they_were(
        lengths in proptest::collection::vec(0_usize..30, 1..30), max_tokens in 1_u64..100, masked: bool,
    ) {
        let corpus = Corpus::of_lengths(&lengths, max_tokens, masked);
        let dataset = corpus.open();
        dataset.verify().unwrap();
        prop_assert_eq!(dataset.description().documents, lengths.len() as u64);
        let mut seen = Vec::new();
        dataset.lengths(|length| seen.push(length as usize)).unwrap();
        prop_assert_eq!(&seen, &lengths);
        let (mut bytes, mut place) = (Vec::new(), 0);
        for (number, ids) in corpus.documents.iter().enumerate() {
            let span = dataset.span(number as u64).unwrap();
            let mut found = vec![0; ids.len()];
            dataset.read_tokens(&span, 0, &mut found, &mut bytes).unwrap();
            prop_assert_eq!(&found, ids);
            let mut mask = vec![false; ids.len() + 1];
            dataset.read_mask(&span, 0, &mut mask, &mut bytes).unwrap();
            let expected = corpus.masks[number].clone().unwrap_or_else(|| vec![1; ids.len() + 1]);
            prop_assert!(mask.iter().zip(expected).all(|(found, expected)| *found == (expected == 1)));
            prop_assert_eq!(dataset.doc_id(&span).unwrap(), corpus.doc_id(number));
            for within in 0..=ids.len() as u64 {
                prop_assert_eq!(dataset.span_at(place + within).unwrap(), (span, place));
            }
            place += ids.len() as u64 + 1;
        }
        prop_assert!(dataset.span(lengths.len() as u64).is_err());
        prop_assert!(dataset.span_at(place).is_err());
    }
}

#[test]
fn a_shard_holds_at_most_max_tokens_unless_one_document_is_longer() {
    let corpus = Corpus::of_lengths(&[4, 4, 4, 20, 1, 0], 8, false);
    let dataset = corpus.open();
    let tokens: Vec<u64> = dataset
        .description()
        .shards
        .iter()
        .map(|shard| shard.tokens)
        .collect();
    assert_eq!(tokens, [8, 4, 20, 1]);
}

#[test]
fn ids_are_two_bytes_wide_up_to_65_536_tokens_and_four_above() {
    for (size, width) in [(65_536, 2), (65_537, 4)] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        let mut writer = ShardWriter::create(&root, vocabulary(size), 100).unwrap();
        writer
            .push(DocumentRef {
                ids: &[5, size - 1],
                mask: None,
                doc_id: None,
            })
            .unwrap();
        writer.publish(Provenance::default()).unwrap();
        let bytes = fs::read(root.join("00000/tokens.npy")).unwrap();
        assert_eq!(bytes.len(), HEADER_BYTES + 2 * width);
        let dataset = Dataset::open(&root).unwrap();
        let mut ids = [0; 2];
        dataset
            .read_tokens(&dataset.span(0).unwrap(), 0, &mut ids, &mut Vec::new())
            .unwrap();
        assert_eq!(ids, [5, size - 1]);
    }
}

#[test]
fn documents_that_cannot_be_stored_are_refused_and_leave_nothing() {
    let bad: [(DocumentRef<'_>, &str); 6] = [
        (
            DocumentRef {
                ids: &[5, 65_536],
                mask: None,
                doc_id: Some(1),
            },
            "document 1, token 1: id 65536",
        ),
        (
            DocumentRef {
                ids: &[5],
                mask: Some(&[1]),
                doc_id: Some(1),
            },
            "1 entries; 2 are needed",
        ),
        (
            DocumentRef {
                ids: &[5],
                mask: Some(&[0, 2]),
                doc_id: Some(1),
            },
            "has 2 at 1",
        ),
        (
            DocumentRef {
                ids: &[5],
                mask: Some(&[0, 0]),
                doc_id: Some(1),
            },
            "trains no target",
        ),
        (
            DocumentRef {
                ids: &[5],
                mask: None,
                doc_id: None,
            },
            "some documents have a doc_id",
        ),
        (
            DocumentRef {
                ids: &[u32::MAX],
                mask: None,
                doc_id: Some(1),
            },
            "outside the vocabulary",
        ),
    ];
    for (document, message) in bad {
        let folder = tempfile::tempdir().unwrap();
        let mut writer =
            ShardWriter::create(&folder.path().join("data"), vocabulary(65_536), 100).unwrap();
        writer
            .push(DocumentRef {
                ids: &[5],
                mask: None,
                doc_id: Some(0),
            })
            .unwrap();
        let error = writer.push(document).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        drop(writer);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn special_ids_outside_the_vocabulary_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = ShardWriter::create(&folder.path().join("data"), vocabulary(1), 100)
        .err()
        .unwrap();
    assert!(error.to_string().contains("padding is 1"), "{error}");
}

#[test]
fn truncation_anywhere_is_found_at_open() {
    let corpus = Corpus::of_lengths(&[6, 3, 9], 10, true);
    for file in ["tokens.npy", "offsets.npy", "mask.npy", "doc_id.npy"] {
        let path = corpus.root().join("00000").join(file);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let error = Dataset::open(&corpus.root()).unwrap_err();
            let PackingError::Corrupt {
                path: named,
                offset,
                ..
            } = &error
            else {
                panic!("{error}")
            };
            assert_eq!((named, *offset), (&path, length as u64));
        }
        fs::write(&path, &whole).unwrap();
    }
    let path = corpus.root().join("00001/tokens.npy");
    fs::remove_file(&path).unwrap();
    let error = Dataset::open(&corpus.root()).unwrap_err().to_string();
    assert!(
        error.contains("00001/tokens.npy") && error.contains("missing"),
        "{error}"
    );
}

#[test]
fn every_flipped_bit_is_found_at_open_or_by_verify() {
    let corpus = Corpus::of_lengths(&[6, 3], 100, true);
    for file in [
        "00000/tokens.npy",
        "00000/offsets.npy",
        "00000/mask.npy",
        "00000/doc_id.npy",
        "manifest.json",
    ] {
        let path = corpus.root().join(file);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, &flipped).unwrap();
            let found = Dataset::open(&corpus.root()).and_then(|dataset| dataset.verify());
            assert!(found.is_err(), "{file}, byte {at}");
        }
        fs::write(&path, &whole).unwrap();
    }
    corpus.open().verify().unwrap();
}

#[test]
fn reading_never_goes_astray_on_altered_contents() {
    // Without verify() a reader may meet any bytes: it must answer with an error or with ids of the vocabulary.
    let corpus = Corpus::of_lengths(&[6, 3, 2], 100, false);
    for file in ["00000/tokens.npy", "00000/offsets.npy"] {
        let path = corpus.root().join(file);
        let whole = fs::read(&path).unwrap();
        for at in HEADER_BYTES..whole.len() {
            let mut altered = whole.clone();
            altered[at] = 0xFF;
            fs::write(&path, &altered).unwrap();
            // The first and the last offset are looked at when a data set is opened.
            let Ok(dataset) = Dataset::open(&corpus.root()) else {
                continue;
            };
            for number in 0..3 {
                let Ok(span) = dataset.span(number) else {
                    continue;
                };
                let mut ids = vec![0; span.tokens as usize];
                if dataset
                    .read_tokens(&span, 0, &mut ids, &mut Vec::new())
                    .is_ok()
                {
                    assert!(ids.iter().all(|id| *id < dataset.description().vocab_size));
                }
            }
            let _ =
                (0..dataset.stream_tokens()).try_for_each(|place| dataset.span_at(place).map(drop));
        }
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn shards_of_another_tokenizer_or_kind_are_foreign() {
    let corpus = Corpus::of_lengths(&[3], 100, false);
    let error = corpus.open().expect_tokenizer("b3:other").unwrap_err();
    assert!(matches!(error, PackingError::Foreign { .. }));
    assert!(
        error.to_string().contains("b3:other") && error.to_string().contains("b3:test"),
        "{error}"
    );
    corpus.open().expect_tokenizer("b3:test").unwrap();

    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    stategpt_storage::publish_folder(&stategpt_storage::RealDisk, &other, |_| {
        Ok::<_, StorageError>(stategpt_storage::Label {
            kind: "checkpoint".into(),
            ..Default::default()
        })
    })
    .unwrap();
    let error = Dataset::open(&other).unwrap_err();
    assert!(
        matches!(error, PackingError::Storage(StorageError::Foreign { .. })),
        "{error}"
    );
}

#[test]
fn more_files_than_may_be_open_are_read_through_a_few() {
    // 400 shards have 800 files; a process may often open 1,024, and other code needs some too.
    let corpus = Corpus::of_lengths(&[2; 400], 2, false);
    let dataset = corpus.open();
    assert_eq!(dataset.description().shards.len(), 400);
    let mut ids = [0; 2];
    for number in (0..400).chain((0..400).rev()) {
        let span = dataset.span(number).unwrap();
        dataset
            .read_tokens(&span, 0, &mut ids, &mut Vec::new())
            .unwrap();
        assert_eq!(ids.as_slice(), corpus.documents[number as usize]);
    }
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    assert!(open < 400, "{open} files are open");
}

#[test]
fn a_gap_of_the_vocabulary_and_the_id_of_padding_are_refused() {
    for (ids, doc_id, reason) in [
        (
            &[5_u32, 7][..],
            None,
            "token 1: id 7 is in a gap of the vocabulary",
        ),
        (&[5, 300], None, "token 1: id 300 is outside the vocabulary"),
        (&[5], Some(u64::MAX), "is reserved for padding"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let writer = ShardWriter::create(&folder.path().join("data"), vocabulary(300), 100);
        let mut writer = writer.unwrap().with_gaps(&[9, 7]);
        let document = DocumentRef {
            ids,
            mask: None,
            doc_id,
        };
        let error = writer.push(document).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn descriptions_whose_counts_do_not_add_up_are_refused() {
    use serde_json::{Value, json};
    use stategpt_packing::Description;
    use stategpt_storage::{Label, Manifest};

    let corpus = Corpus::of_lengths(&[3, 5], 100, false);
    let extra = corpus.open().manifest().extra.clone();
    let of = |changes: Value| {
        let mut extra = extra.clone();
        extra.extend(changes.as_object().unwrap().clone());
        let label = Label {
            extra,
            ..Label::default()
        };
        Description::of(&Manifest::new(label, [].into()))
    };
    assert!(of(json!({})).is_ok());
    for changes in [
        json!({"tokens": 9}),
        json!({"documents": 3}),
        json!({"length_histogram": [[3, 1], [5, 2]]}),
        json!({"length_histogram": [[5, 1], [3, 1]]}),
        json!({"length_histogram": [[0, u64::MAX], [8, 1]]}),
        json!({"shards": [{"documents": u64::MAX, "tokens": u64::MAX, "masked": false}]}),
        json!({"shards": []}),
        json!({"end_of_text": u32::MAX}),
    ] {
        assert!(of(changes.clone()).is_err(), "{changes}");
    }
}
