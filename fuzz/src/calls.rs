//! Properties of every call, for any tokenizer and text.

use stategpt_tokenizer::{
    CancelFlag, Ragged, Special, StreamDecoder, Tokenizer, TokenizerError, Unknown,
};

/// Calls everything that takes a text or ids.
///
/// # Panics
/// If results of calls contradict each other.
pub fn check(tokenizer: &Tokenizer, text: &[u8]) {
    for special in [Special::Text, Special::Allow] {
        let Some(ids) = ids(tokenizer, text, special) else {
            continue;
        };
        parts(tokenizer, text, special, &ids);
        batches(tokenizer, text, special, &ids);
        decoded(tokenizer, &ids);
        if special == Special::Text {
            let controls = ids.iter().filter(|&&id| tokenizer.model().is_special(id));
            assert_eq!(controls.count(), 0, "no control token comes out of text");
        }
        if special == Special::Text && is_lossless(tokenizer) {
            let decoded = tokenizer.decode(&ids, false);
            assert_eq!(decoded.ok().as_deref(), Some(text), "the text comes back");
        }
    }
    any_ids(tokenizer, text);
}

/// The ids of a text; `None` if its pattern reaches the limit of steps.
pub fn ids(tokenizer: &Tokenizer, text: &[u8], special: Special) -> Option<Vec<u32>> {
    match tokenizer.encode(text, special) {
        Ok(ids) => Some(ids),
        Err(TokenizerError::PatternSteps { .. }) => None,
        Err(error) => unreachable!("{error}"),
    }
}

/// Whether the pre-tokens are the unchanged text, and no byte is left out.
fn is_lossless(tokenizer: &Tokenizer) -> bool {
    let model = tokenizer.model();
    !model.nfc && !model.prefix_space && model.unknown == Unknown::Refused
}

/// Counts, first ids, offsets and spans.
fn parts(tokenizer: &Tokenizer, text: &[u8], special: Special, ids: &[u32]) {
    let stop = CancelFlag::default();
    let count = tokenizer.count(text, special).ok();
    assert_eq!(count, Some(ids.len()), "the ids are as many as are counted");
    for most in [0, 1, ids.len() / 2, ids.len() + 1] {
        let first = tokenizer.encode_at_most(text, special, most, &stop).ok();
        let expected = &ids[..most.min(ids.len())];
        assert_eq!(first.as_deref(), Some(expected), "the first {most} ids");
    }
    let offsets = tokenizer.encode_with_offsets(text, special, &stop);
    let (with_offsets, offsets) = offsets.unwrap_or_default();
    assert_eq!(with_offsets, ids, "ids with offsets");
    assert_eq!(
        offsets.len(),
        ids.len() + 1,
        "an offset for each id and the end"
    );
    assert!(
        offsets.is_sorted() && offsets.last() == Some(&(text.len() as u64)),
        "they rise"
    );
    let (with_spans, spans) = tokenizer
        .encode_with_spans(text, special, &stop)
        .unwrap_or_default();
    assert_eq!(with_spans, ids, "ids with spans");
    let prefixed = tokenizer.model().prefix_space;
    assert!(
        spans
            .iter()
            .all(|[first, end]| first < end || prefixed || first == end && !is_utf8(text)),
        "no span is empty"
    );
}

fn is_utf8(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok()
}

/// Batches on several threads, and templates.
fn batches(tokenizer: &Tokenizer, text: &[u8], special: Special, ids: &[u32]) {
    let texts = [text, b"", text, text];
    for threads in [1, 3] {
        let batch = tokenizer.encode_batch(&texts, special, Some(threads));
        let Ragged { ids: all, offsets } = batch.unwrap_or_default();
        assert_eq!(all, ids.repeat(3), "documents one by one");
        let count = ids.len() as u64;
        assert_eq!(offsets, [0, count, count, 2 * count, 3 * count]);
    }
    if special == Special::Text {
        let parts = [Ok(text), Err(0), Ok(text)];
        let template = tokenizer.encode_parts(parts.into_iter(), &CancelFlag::default());
        assert_eq!(
            template.ok(),
            Some([ids, &[0], ids].concat()),
            "segments one by one"
        );
    }
}

/// Decoding at once, by documents and id by id.
fn decoded(tokenizer: &Tokenizer, ids: &[u32]) {
    let text = tokenizer.decode_text(ids, false).ok();
    let mut decoder = StreamDecoder::default();
    let mut streamed = String::new();
    for &id in ids {
        streamed.push_str(&decoder.push(tokenizer, id).unwrap_or_default());
    }
    streamed.push_str(&decoder.finish());
    assert_eq!(text, Some(streamed), "pushed id by id");
    let offsets = [0, ids.len() as u64 / 2, ids.len() as u64];
    let documents = tokenizer.decode_documents(ids, &offsets, true, &CancelFlag::default());
    let whole = tokenizer.decode(ids, true).ok();
    assert_eq!(
        documents.ok().map(|(bytes, _)| bytes),
        whole,
        "documents end to end"
    );
}

/// Bytes as ids: each is decoded or unknown, in a list as alone.
fn any_ids(tokenizer: &Tokenizer, bytes: &[u8]) {
    let words = bytes
        .chunks_exact(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let ids: Vec<u32> = words.chain([u32::MAX]).collect();
    for skip_special in [false, true] {
        let alone = |id: &u32| tokenizer.decode(std::slice::from_ref(id), skip_special);
        let known = ids.iter().filter(|id| alone(id).is_ok()).copied();
        let known: Vec<u32> = known.collect();
        let joined: Vec<u8> = known
            .iter()
            .flat_map(|id| alone(id).unwrap_or_default())
            .collect();
        assert_eq!(
            tokenizer.decode(&known, skip_special).ok(),
            Some(joined),
            "ids one by one"
        );
        assert_eq!(
            tokenizer.decode(&ids, skip_special).is_ok(),
            known.len() == ids.len()
        );
    }
}
