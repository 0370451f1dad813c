//! Texts written as shards are the texts, however they are given and with any number of threads.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use stategpt_lines::Texts;
use stategpt_packing::{Dataset, Provenance, ShardWriter};
use stategpt_pipeline::TextWriter;
use stategpt_pipeline::shards::{ShardingError, vocabulary};
use stategpt_tokenizer::{Documents, Pattern, Special, Target, Tokenizer, Trainer};

fn tokenizer() -> Tokenizer {
    let mut trainer = Trainer::new(Pattern::named("gpt4").unwrap(), Documents::Whole, Some(1));
    trainer
        .feed(&["the cat sat on the mat, the cat sat"])
        .unwrap();
    let special_tokens = vec!["<|endoftext|>".to_string(), "<|pad|>".to_string()];
    trainer
        .train(&Target {
            vocab_size: 270,
            special_tokens,
            min_frequency: 0,
        })
        .unwrap()
}

/// A writer with 500 tokens in a shard.
fn writer(
    root: &Path,
    tokenizer: Tokenizer,
    padding: Option<&str>,
    special: Special,
    threads: usize,
) -> Result<TextWriter, ShardingError> {
    let vocabulary = vocabulary(&tokenizer, "<|endoftext|>", padding)?;
    let writer = ShardWriter::create(root, vocabulary, 500)?;
    Ok(TextWriter::new(
        writer,
        Arc::new(tokenizer),
        special,
        Some(threads),
    ))
}

#[test]
fn documents_are_the_texts_and_threads_do_not_matter() {
    let tokenizer = tokenizer();
    let texts: Vec<String> = (0..200)
        .map(|i| format!("the cat {i} sat on <|endoftext|> é {i}"))
        .collect();
    let mut manifests = Vec::new();
    for (threads, at_a_time, is_gathered) in
        [(1, 200, false), (2, 7, false), (1, 9, true), (2, 50, true)]
    {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        let mut writer = writer(
            &root,
            self::tokenizer(),
            Some("<|pad|>"),
            Special::Text,
            threads,
        )
        .unwrap();
        let mut gathered = Texts::default();
        for group in texts.chunks(at_a_time) {
            if is_gathered {
                group.iter().for_each(|text| gathered.push(text));
                writer.push_gathered(&gathered).unwrap();
                gathered.clear();
            } else {
                writer.push_texts(group).unwrap();
            }
        }
        assert_eq!(writer.documents(), 200);
        manifests.push(
            writer
                .publish_while(Provenance::default(), &|| true)
                .unwrap(),
        );
        let dataset = Dataset::open(&root).unwrap();
        dataset.expect_tokenizer(&tokenizer.fingerprint()).unwrap();
        for (number, text) in texts.iter().enumerate() {
            let span = dataset.span(number as u64).unwrap();
            let mut ids = vec![0; span.tokens as usize];
            dataset
                .read_tokens(&span, 0, &mut ids, &mut Vec::new())
                .unwrap();
            assert_eq!(tokenizer.decode(&ids, false).unwrap(), text.as_bytes());
            assert!(ids.iter().all(|id| *id > 1), "text became a special token");
        }
    }
    assert!(manifests.iter().all(|manifest| *manifest == manifests[0]));
}

#[test]
fn a_document_that_is_not_utf_8_is_named_with_its_offset() {
    let tokenizer = tokenizer();
    let folder = tempfile::tempdir().unwrap();
    let vocabulary = vocabulary(&tokenizer, "<|endoftext|>", None).unwrap();
    assert_eq!(vocabulary.padding, vocabulary.end_of_text);
    let mut writer = writer(
        &folder.path().join("data"),
        tokenizer,
        None,
        Special::Text,
        1,
    )
    .unwrap();
    writer.push_texts(&["fine"]).unwrap();
    let error = writer
        .push_texts(&[b"fine".as_slice(), b"caf\xe9"])
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("document 2, byte 3: not UTF-8"),
        "{error}"
    );
    assert_eq!(writer.documents(), 1);
}

#[test]
fn unflagged_tokens_come_out_of_text_unless_they_end_documents() {
    let file = tokenizer().to_json();
    let unflag = |name: &str| {
        let flagged = format!("\"content\": \"{name}\"");
        let (before, after) = file.split_once(&flagged).unwrap();
        let after = after.replacen("\"special\": true", "\"special\": false", 1);
        Tokenizer::from_json(format!("{before}{flagged}{after}").as_bytes()).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let push = |tokenizer: Tokenizer, special| -> Result<(), ShardingError> {
        let mut writer = writer(&root, tokenizer, None, special, 1)?;
        writer.push_texts(&["a<|pad|><|endoftext|>"])?;
        writer.publish_while(Provenance::default(), &|| true)?;
        Ok(())
    };
    push(unflag("<|pad|>"), Special::Unflagged).unwrap();
    let dataset = Dataset::open(&root).unwrap();
    let span = dataset.span(0).unwrap();
    let mut ids = vec![0; span.tokens as usize];
    dataset
        .read_tokens(&span, 0, &mut ids, &mut Vec::new())
        .unwrap();
    assert_eq!(ids.iter().filter(|id| **id == 1).count(), 1);
    assert!(!ids.contains(&0));
    push(unflag("<|endoftext|>"), Special::Text).unwrap();
    for (name, special) in [
        ("<|endoftext|>", Special::Unflagged),
        ("<|pad|>", Special::Allow),
    ] {
        let error = push(unflag(name), special).unwrap_err();
        assert!(matches!(error, ShardingError::EndIsText { .. }), "{error}");
    }
}

#[test]
fn a_tokenizer_without_end_of_text_is_refused() {
    let mut trainer = Trainer::new(Pattern::named("gpt4").unwrap(), Documents::Whole, Some(1));
    trainer.feed(&["the cat"]).unwrap();
    let target = Target {
        vocab_size: 260,
        special_tokens: Vec::new(),
        min_frequency: 0,
    };
    let error = vocabulary(&trainer.train(&target).unwrap(), "<|endoftext|>", None).unwrap_err();
    assert!(matches!(error, ShardingError::Tokenizer(_)), "{error}");
}
