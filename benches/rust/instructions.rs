//! Three fixed jobs whose instructions are counted: `instructions NAME REPEATS` does one so many times.
//!
//! What a job costs is the difference between two numbers of repeats, so that start and preparation do not count.
//! `benches/instructions.py` counts under callgrind and compares with the goldens.

use std::hint::black_box;

use stategpt_benches::tokenizer_inputs::{documents, multilingual};
use stategpt_tokenizer::{Documents, Model, Pattern, Special, Target, Tokenizer, Trainer};

const USAGE: &str = "usage: instructions encode_warm|encode_cold|train REPEATS";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    stategpt_tokenizer::fix_keys_for_measuring();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, repeats] = words.as_slice() else {
        return Err(USAGE.into());
    };
    let repeats: usize = repeats.parse()?;
    match name.as_str() {
        "encode_warm" => encode_warm(repeats),
        "encode_cold" => encode_cold(repeats),
        "train" => learn(repeats),
        _ => return Err(USAGE.into()),
    }?;
    Ok(())
}

type Outcome = Result<(), stategpt_tokenizer::TokenizerError>;

fn train(
    texts: &[String],
    vocab_size: usize,
) -> Result<Tokenizer, stategpt_tokenizer::TokenizerError> {
    let mut trainer = Trainer::new(Pattern::Gpt4, Documents::Whole, Some(1));
    trainer.feed(texts)?;
    let target = Target {
        vocab_size,
        ..Target::default()
    };
    trainer.train(&target)
}

/// A vocabulary learned from prose.
fn learn(repeats: usize) -> Outcome {
    let texts = documents(1 << 18);
    (0..repeats).try_for_each(|_| train(&texts, 2048).map(drop))
}

/// Prose whose pieces are all in the cache.
fn encode_warm(repeats: usize) -> Outcome {
    let texts = documents(1 << 18);
    let tokenizer = train(&texts, 2048)?;
    (0..repeats).try_for_each(|_| encode(&tokenizer, &texts))
}

/// Text in many languages through an engine that has seen nothing yet.
fn encode_cold(repeats: usize) -> Outcome {
    let texts = multilingual(1 << 18);
    let model: Model = train(&texts, 2048)?.model().clone();
    let engines: Result<Vec<Tokenizer>, _> =
        (0..2).map(|_| Tokenizer::new(model.clone())).collect();
    engines?
        .iter()
        .take(repeats)
        .try_for_each(|tokenizer| encode(tokenizer, &texts))
}

fn encode(tokenizer: &Tokenizer, texts: &[String]) -> Outcome {
    for text in texts {
        black_box(tokenizer.encode(text.as_bytes(), Special::Text)?);
    }
    Ok(())
}
