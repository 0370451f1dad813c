//! Text to token shards.

use stategpt_packing::{DocumentRef, PackingError, ShardWriter, Vocabulary};
use stategpt_tokenizer::{Special, Tokenizer, TokenizerError};

/// What happened, the values, what to do.
#[derive(Debug, thiserror::Error)]
pub enum ShardingError {
    /// A shard could not be written.
    #[error(transparent)]
    Packing(#[from] PackingError),

    /// The tokenizer lacks a token.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),

    /// A document is not text.
    #[error(
        "document {document}, byte {offset}: not UTF-8. Decode it with its own encoding, or leave it out."
    )]
    NotUtf8 {
        /// Number of the document in the data set, from 0.
        document: u64,
        /// First byte that is wrong.
        offset: usize,
    },

    /// Text could end a document or hold padding.
    #[error(
        "special=\"unflagged\": the added token {content:?} is not flagged special, so text that spells it would become the \
         token that ends documents or pads rows. Flag it in the tokenizer's file (\"special\": true), or use special=\"text\"."
    )]
    EndIsText {
        /// The token around documents, or the one that pads.
        content: String,
    },

    /// A document has more bytes than the tokenizer counts.
    #[error(
        "document {document} has {bytes} bytes; at most {} are tokenized at once. Split it.",
        u32::MAX
    )]
    TooLarge {
        /// Number of the document in the data set, from 0.
        document: u64,
        /// Its size.
        bytes: usize,
    },
}

/// What shards must know of `tokenizer`. Without a `padding` token, end of text pads: nothing sees or learns
/// a padding token, so which id it has does not matter.
pub fn vocabulary(
    tokenizer: &Tokenizer,
    end_of_text: &str,
    padding: Option<&str>,
) -> Result<Vocabulary, ShardingError> {
    let end_of_text = tokenizer.special_id(end_of_text)?;
    Ok(Vocabulary {
        fingerprint: tokenizer.fingerprint().into_owned(),
        // A vocabulary is far smaller than 2^32: the tokenizer's own limit.
        size: u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX),
        end_of_text,
        padding: padding.map_or(Ok(end_of_text), |padding| tokenizer.special_id(padding))?,
    })
}

/// Ids below the vocabulary's size that no token has: nothing may be stored under them.
pub fn gaps(tokenizer: &Tokenizer) -> Vec<u32> {
    let model = tokenizer.model();
    let ids = model.tokens.iter().map(|(id, _)| id);
    let mut taken: Vec<u32> = ids
        .chain(model.added.iter().map(|token| token.id))
        .collect();
    taken.sort_unstable();
    let mut gaps = Vec::new();
    let mut next = 0;
    for id in taken {
        gaps.extend(next..id);
        next = id + 1;
    }
    gaps
}

/// Tokenizes `texts` and stores each as a document, in order. The bytes written do not depend on `threads`.
///
/// Text must be UTF-8. It never yields a token flagged special; with [`Special::Unflagged`] it yields other added tokens.
///
/// # Errors
/// [`ShardingError`] with the number of the document.
pub fn push_texts<T: AsRef<[u8]> + Sync>(
    writer: &mut ShardWriter,
    tokenizer: &Tokenizer,
    texts: &[T],
    special: Special,
    threads: Option<usize>,
) -> Result<(), ShardingError> {
    refuse_end_in_text(writer.vocabulary(), tokenizer, special)?;
    for (document, text) in (writer.documents()..).zip(texts) {
        let text = text.as_ref();
        if text.len() >= u32::MAX as usize {
            return Err(ShardingError::TooLarge {
                document,
                bytes: text.len(),
            });
        }
        if let Err(error) = std::str::from_utf8(text) {
            return Err(ShardingError::NotUtf8 {
                document,
                offset: error.valid_up_to(),
            });
        }
    }
    let encoded = tokenizer.encode_batch(texts, special, threads)?;
    for bounds in encoded.offsets.windows(2) {
        let ids = &encoded.ids[bounds[0] as usize..bounds[1] as usize];
        writer.push(DocumentRef {
            ids,
            mask: None,
            doc_id: None,
        })?;
    }
    Ok(())
}

/// Refuses a mode in which a document's text could hold the token that ends documents, or the one that pads.
fn refuse_end_in_text(
    vocabulary: &Vocabulary,
    tokenizer: &Tokenizer,
    special: Special,
) -> Result<(), ShardingError> {
    let ends = |id| id == vocabulary.end_of_text || id == vocabulary.padding;
    let mut added = tokenizer.model().added.iter();
    let found = added.find(|token| ends(token.id) && special.takes(token.special));
    found.map_or(Ok(()), |token| {
        Err(ShardingError::EndIsText {
            content: token.content.clone(),
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use stategpt_packing::{Dataset, Provenance};
    use stategpt_tokenizer::{Documents, Pattern, Target, Trainer};

    use super::*;

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

    #[test]
    fn documents_are_the_texts_and_threads_do_not_matter() {
        let tokenizer = tokenizer();
        let texts: Vec<String> = (0..200)
            .map(|i| format!("the cat {i} sat on <|endoftext|> é {i}"))
            .collect();
        let mut manifests = Vec::new();
        for (threads, at_a_time) in [(1, 200), (2, 7)] {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().join("data");
            let vocabulary = vocabulary(&tokenizer, "<|endoftext|>", Some("<|pad|>")).unwrap();
            let mut writer = ShardWriter::create(&root, vocabulary, 500).unwrap();
            for group in texts.chunks(at_a_time) {
                push_texts(&mut writer, &tokenizer, group, Special::Text, Some(threads)).unwrap();
            }
            manifests.push(writer.publish(Provenance::default()).unwrap());
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
        assert_eq!(manifests[0], manifests[1]);
    }

    #[test]
    fn a_document_that_is_not_utf_8_is_named_with_its_offset() {
        let tokenizer = tokenizer();
        let folder = tempfile::tempdir().unwrap();
        let vocabulary = vocabulary(&tokenizer, "<|endoftext|>", None).unwrap();
        assert_eq!(vocabulary.padding, vocabulary.end_of_text);
        let mut writer = ShardWriter::create(&folder.path().join("data"), vocabulary, 500).unwrap();
        push_texts(&mut writer, &tokenizer, &["fine"], Special::Text, Some(1)).unwrap();
        let error = push_texts(
            &mut writer,
            &tokenizer,
            &[b"fine".as_slice(), b"caf\xe9"],
            Special::Text,
            Some(1),
        )
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
        let push = |tokenizer: &Tokenizer, special| -> Result<(), ShardingError> {
            let vocabulary = vocabulary(tokenizer, "<|endoftext|>", None)?;
            let mut writer = ShardWriter::create(&root, vocabulary, 500)?;
            let texts = ["a<|pad|><|endoftext|>"];
            push_texts(&mut writer, tokenizer, &texts, special, Some(1))?;
            writer.publish(Provenance::default())?;
            Ok(())
        };
        push(&unflag("<|pad|>"), Special::Unflagged).unwrap();
        let dataset = Dataset::open(&root).unwrap();
        let span = dataset.span(0).unwrap();
        let mut ids = vec![0; span.tokens as usize];
        dataset
            .read_tokens(&span, 0, &mut ids, &mut Vec::new())
            .unwrap();
        assert_eq!(ids.iter().filter(|id| **id == 1).count(), 1);
        assert!(!ids.contains(&0));
        push(&unflag("<|endoftext|>"), Special::Text).unwrap();
        for (name, special) in [
            ("<|endoftext|>", Special::Unflagged),
            ("<|pad|>", Special::Allow),
        ] {
            let error = push(&unflag(name), special).unwrap_err();
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
        let error =
            vocabulary(&trainer.train(&target).unwrap(), "<|endoftext|>", None).unwrap_err();
        assert!(matches!(error, ShardingError::Tokenizer(_)), "{error}");
    }
}
