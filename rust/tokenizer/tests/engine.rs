//! The public API: train, save, load, encode, decode.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use stategpt_tokenizer::{
    CancelFlag, Documents, Pattern, Reading, Special, StreamDecoder, Target, Tokenizer,
    TokenizerError, Trainer,
};
use std::path::PathBuf;
use std::sync::LazyLock;

const TEXT: &str =
    "It's a truth universally acknowledged, that 12345 tokens\n\n  must be in want of merges. ";

fn trained(pattern: &str) -> Tokenizer {
    let mut trainer = Trainer::new(Pattern::named(pattern).unwrap(), Documents::Whole, Some(1));
    trainer.feed(&[TEXT.repeat(3)]).unwrap();
    let target = Target {
        vocab_size: 320,
        special_tokens: vec!["<|end|>".to_owned()],
        min_frequency: 2,
    };
    trainer.train(&target).unwrap()
}

static TESTED: LazyLock<Vec<Tokenizer>> =
    LazyLock::new(|| Pattern::NAMES.iter().map(|name| trained(name)).collect());

proptest! {
    #[test]
    fn any_bytes_come_back_at_once_and_streamed(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for tokenizer in TESTED.iter() {
            let ids = tokenizer.encode(&bytes, Special::Text).unwrap();
            prop_assert_eq!(&tokenizer.decode(&ids, false).unwrap(), &bytes);
            prop_assert_eq!(tokenizer.count(&bytes, Special::Text).unwrap(), ids.len());
            let mut stream = StreamDecoder::default();
            let mut text: String = ids.iter().map(|&id| stream.push(tokenizer, id).unwrap()).collect();
            text.push_str(&stream.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn a_batch_equals_its_documents_one_by_one(texts in proptest::collection::vec(".{0,40}", 0..20), threads in 1_usize..4) {
        for tokenizer in TESTED.iter() {
            let batch = tokenizer.encode_batch(&texts, Special::Text, Some(threads)).unwrap();
            let alone: Vec<u32> = texts.iter().flat_map(|text| tokenizer.encode(text.as_bytes(), Special::Text).unwrap()).collect();
            prop_assert_eq!(batch.ids, alone);
            prop_assert_eq!(batch.offsets.len(), texts.len() + 1);
        }
    }
}

#[test]
fn text_seen_before_gives_the_same_ids() {
    // More distinct pre-tokens than the front table has places, some of them frequent, of one token to many.
    let words = (0..50_000_u64).map(|number| {
        let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        let word = format!("{mixed:06x}").repeat(1 + number as usize % 3);
        format!(
            " the {word} d\u{e9}j\u{e0} vu, {}",
            &word[..1 + number as usize % 5]
        )
    });
    let text: String = words.collect();
    let seen = trained("gpt4");
    let first = seen.encode(text.as_bytes(), Special::Text).unwrap();
    assert_eq!(seen.decode(&first, false).unwrap(), text.as_bytes());
    for _ in 0..3 {
        assert!(seen.encode(text.as_bytes(), Special::Text).unwrap() == first);
    }
}

#[test]
fn a_large_batch_is_the_same_on_any_number_of_threads() {
    let texts: Vec<String> = (0..200)
        .map(|n| format!("{n} {}", TEXT.repeat(100)))
        .collect();
    let one = TESTED[1]
        .encode_batch(&texts, Special::Text, Some(1))
        .unwrap();
    assert_eq!(
        one,
        TESTED[1]
            .encode_batch(&texts, Special::Text, Some(3))
            .unwrap()
    );
    assert_eq!(
        one,
        TESTED[1].encode_batch(&texts, Special::Text, None).unwrap()
    );
}

proptest! {
    #[test]
    fn the_first_ids_are_the_first_of_all(text in ".{0,200}", most in 0_usize..60) {
        for tokenizer in TESTED.iter() {
            let all = tokenizer.encode(text.as_bytes(), Special::Text).unwrap();
            let first = tokenizer.encode_at_most(text.as_bytes(), Special::Text, most, &CancelFlag::default()).unwrap();
            prop_assert_eq!(&first[..], &all[..most.min(all.len())]);
        }
    }

    #[test]
    fn spans_cover_the_characters_of_each_token(text in "[aé中🚀 \n]{0,40}") {
        let (ids, spans) = TESTED[1].encode_with_spans(text.as_bytes(), Special::Text, &CancelFlag::default()).unwrap();
        let (_, offsets) = TESTED[1].encode_with_offsets(text.as_bytes(), Special::Text, &CancelFlag::default()).unwrap();
        prop_assert_eq!(ids.len(), spans.len());
        let bounds: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        for (span, bytes) in spans.iter().zip(offsets.windows(2)) {
            let [first, end] = span.map(|place| place as usize);
            // The fewest whole characters that contain the token's bytes.
            prop_assert!(bounds[first] <= bytes[0] as usize && (bytes[0] as usize) < bounds[first + 1]);
            prop_assert!(bounds[end - 1] < bytes[1] as usize && bytes[1] as usize <= bounds[end]);
        }
    }
}

#[test]
fn a_document_that_threads_share_has_the_same_ids() {
    let large = TEXT.repeat(30_000);
    let texts = ["one", &large, "", &large[..1_500_000], "two"];
    let alone: Vec<Vec<u32>> = texts
        .iter()
        .map(|text| TESTED[1].encode(text.as_bytes(), Special::Text).unwrap())
        .collect();
    let counts = TESTED[1].count_batch(&texts, Special::Text, Some(2), &CancelFlag::default());
    for threads in [1, 2, 3] {
        let batch = TESTED[1]
            .encode_batch(&texts, Special::Text, Some(threads))
            .unwrap();
        assert_eq!(batch.ids, alone.concat());
        let lengths: Vec<u64> = batch
            .offsets
            .windows(2)
            .map(|ends| ends[1] - ends[0])
            .collect();
        assert_eq!(
            lengths,
            alone.iter().map(|ids| ids.len() as u64).collect::<Vec<_>>()
        );
        assert_eq!(&batch.offsets, counts.as_ref().unwrap());
    }
}

#[test]
fn large_and_small_files_come_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let large = TEXT.repeat(15_000);
    let texts = ["one\ntwo", &large, "", "three", &large[..1_200_000]];
    let paths: Vec<PathBuf> = (0..texts.len())
        .map(|n| folder.path().join(n.to_string()))
        .collect();
    for (path, text) in paths.iter().zip(texts) {
        std::fs::write(path, text).unwrap();
    }
    let by_line: Vec<&str> = texts
        .iter()
        .flat_map(|text| text.split_inclusive('\n'))
        .collect();
    for (lines, documents) in [(false, &texts[..]), (true, &by_line[..])] {
        let reading = Reading {
            lines,
            replace: false,
        };
        for threads in [1, 2] {
            let files = TESTED[1].encode_files(
                &paths,
                Special::Text,
                reading,
                Some(threads),
                &CancelFlag::default(),
            );
            assert_eq!(
                files.unwrap(),
                TESTED[1]
                    .encode_batch(documents, Special::Text, Some(1))
                    .unwrap()
            );
        }
    }
}

#[test]
fn a_cancelled_call_is_an_error_and_leaves_the_tokenizer_unchanged() {
    let texts = vec![TEXT.repeat(10_000); 4];
    let cancel = CancelFlag::default();
    cancel.raise();
    for threads in [1, 2] {
        let batch = TESTED[1].encode_batch_until(&texts, Special::Text, Some(threads), &cancel);
        assert!(matches!(batch, Err(TokenizerError::Interrupted)));
    }
    let one = TESTED[1].encode_until(texts[0].as_bytes(), Special::Text, &cancel);
    assert!(matches!(one, Err(TokenizerError::Interrupted)));
    let count = TESTED[1].count_until(texts[0].as_bytes(), Special::Text, &cancel);
    assert!(matches!(count, Err(TokenizerError::Interrupted)));
    let text = texts[0].as_bytes();
    let offsets = TESTED[1].encode_with_offsets(text, Special::Text, &cancel);
    assert!(matches!(offsets, Err(TokenizerError::Interrupted)));
    let spans = TESTED[1].encode_with_spans(text, Special::Text, &cancel);
    assert!(matches!(spans, Err(TokenizerError::Interrupted)));
    let first = TESTED[1].encode_at_most(text, Special::Text, 1000, &cancel);
    assert!(matches!(first, Err(TokenizerError::Interrupted)));
    let text = TESTED[1].decode_until(&[1, 2, 3], false, &cancel);
    assert!(matches!(text, Err(TokenizerError::Interrupted)));
    let ids = TESTED[1]
        .encode(texts[0].as_bytes(), Special::Text)
        .unwrap();
    assert_eq!(TESTED[1].decode(&ids, false).unwrap(), texts[0].as_bytes());
}

#[test]
fn a_saved_tokenizer_loads_as_an_equal_one() {
    let folder = tempfile::tempdir().unwrap();
    for tokenizer in TESTED.iter() {
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, tokenizer.to_json()).unwrap();
        let again = Tokenizer::load(&path).unwrap();
        assert_eq!(again.model(), tokenizer.model());
        assert_eq!(again.fingerprint(), tokenizer.fingerprint());
    }
}

#[test]
fn added_tokens_come_from_text_only_where_they_are_allowed() {
    let text = b"a<|end|>b";
    let id = TESTED[0].special_id("<|end|>").unwrap();
    assert!(!TESTED[0].encode(text, Special::Text).unwrap().contains(&id));
    let allowed = TESTED[0].encode(text, Special::Allow).unwrap();
    assert_eq!(allowed.iter().filter(|&&found| found == id).count(), 1);
    assert_eq!(TESTED[0].decode(&allowed, false).unwrap(), text);
    assert_eq!(TESTED[0].decode(&allowed, true).unwrap(), b"ab");
}

#[test]
fn files_are_read_whole_or_by_line_and_must_be_utf8() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("text");
    std::fs::write(&path, b"one\ntwo").unwrap();
    let read = |lines, replace| {
        TESTED[0].encode_files(
            std::slice::from_ref(&path),
            Special::Text,
            Reading { lines, replace },
            None,
            &CancelFlag::default(),
        )
    };
    assert_eq!(read(false, false).unwrap().offsets.len(), 2);
    assert_eq!(read(true, false).unwrap().offsets.len(), 3);
    std::fs::write(&path, b"one\xFFtwo").unwrap();
    assert!(matches!(
        read(false, false),
        Err(TokenizerError::NotUtf8 { offset: 3, .. })
    ));
    assert!(read(false, true).is_ok());
}

#[test]
fn an_unknown_id_is_an_error_that_names_it() {
    let error = TESTED[0].decode(&[1, 9_999], false).unwrap_err();
    assert!(
        error.to_string().starts_with("token id 9999 is not in"),
        "{error}"
    );
}
