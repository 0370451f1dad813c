//! Any bytes, read as a tokenizer.

use stategpt_tokenizer::format::tiktoken::from_ranks;
use stategpt_tokenizer::{Pattern, Tokenizer};

use crate::calls;

const TEXTS: [&str; 4] = [
    "It's a test: 12345 words\r\n\n  and  more.",
    "数据 処理、данные\u{301}\u{a0}\u{3000}",
    "<|endoftext|> <|end|> {}[]\"\\ the other <n>x  <r> \n y",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// The bytes as a `tokenizer.json`, and as a rank file of each pattern.
///
/// # Panics
/// If a file is read whose tokenizer does not give texts back, or differs after it was saved.
pub fn format(data: &[u8]) {
    if let Ok(tokenizer) = Tokenizer::from_json(data) {
        hold(&tokenizer, data);
    }
    let special = [("<|endoftext|>".to_owned(), 1 << 20)];
    for name in Pattern::NAMES {
        let Ok(pattern) = Pattern::named(name) else {
            continue;
        };
        let Ok(model) = from_ranks(data, pattern, &special) else {
            continue;
        };
        if let Ok(tokenizer) = Tokenizer::new(model) {
            hold(&tokenizer, data);
        }
    }
}

fn hold(tokenizer: &Tokenizer, data: &[u8]) {
    let saved = tokenizer.to_json();
    let again = Tokenizer::from_json(saved.as_bytes());
    assert!(
        again.is_ok_and(|again| again.fingerprint() == tokenizer.fingerprint()),
        "what is saved is read as the same"
    );
    let start = &data[..data.len().min(200)];
    for text in TEXTS.iter().map(|text| text.as_bytes()).chain([start]) {
        calls::check(tokenizer, text);
    }
}
