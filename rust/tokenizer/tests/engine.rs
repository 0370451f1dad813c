//! The public face: train, save, load, encode, decode.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use stategpt_tokenizer::{
    Documents, Pattern, Reading, Special, StreamDecoder, Target, Tokenizer, TokenizerError, Trainer,
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

static ALL: LazyLock<Vec<Tokenizer>> =
    LazyLock::new(|| Pattern::NAMES.iter().map(|name| trained(name)).collect());

proptest! {
    #[test]
    fn any_bytes_come_back_whole_and_streamed(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for tokenizer in ALL.iter() {
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
    fn a_batch_is_its_documents_one_by_one(texts in proptest::collection::vec(".{0,40}", 0..20), threads in 1_usize..4) {
        for tokenizer in ALL.iter() {
            let batch = tokenizer.encode_batch(&texts, Special::Text, Some(threads)).unwrap();
            let alone: Vec<u32> = texts.iter().flat_map(|text| tokenizer.encode(text.as_bytes(), Special::Text).unwrap()).collect();
            prop_assert_eq!(batch.ids, alone);
            prop_assert_eq!(batch.offsets.len(), texts.len() + 1);
        }
    }
}

#[test]
fn a_large_batch_is_the_same_on_any_number_of_threads() {
    let texts: Vec<String> = (0..200)
        .map(|n| format!("{n} {}", TEXT.repeat(100)))
        .collect();
    let one = ALL[1].encode_batch(&texts, Special::Text, Some(1)).unwrap();
    assert_eq!(one, ALL[1].encode_batch(&texts, Special::Text, Some(3)).unwrap());
    assert_eq!(one, ALL[1].encode_batch(&texts, Special::Text, None).unwrap());
}

#[test]
fn what_is_saved_loads_as_the_same_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    for tokenizer in ALL.iter() {
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
    let id = ALL[0].special_id("<|end|>").unwrap();
    assert!(!ALL[0].encode(text, Special::Text).unwrap().contains(&id));
    let allowed = ALL[0].encode(text, Special::Allow).unwrap();
    assert_eq!(allowed.iter().filter(|&&found| found == id).count(), 1);
    assert_eq!(ALL[0].decode(&allowed, false).unwrap(), text);
    assert_eq!(ALL[0].decode(&allowed, true).unwrap(), b"ab");
}

#[test]
fn files_are_read_whole_or_by_line_and_must_be_utf8() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("text");
    std::fs::write(&path, b"one\ntwo").unwrap();
    let read = |lines, replace| {
        ALL[0].encode_files(
            std::slice::from_ref(&path),
            Special::Text,
            Reading { lines, replace },
            None,
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
    let error = ALL[0].decode(&[1, 9_999], false).unwrap_err();
    assert!(
        error.to_string().starts_with("token id 9999 is not in"),
        "{error}"
    );
}
