//! File formats: `tokenizer.json` of the `tokenizers` library, and tiktoken's rank files.

mod added;
mod bpe;
mod cursor;
mod fast_path;
mod fields;
mod file;
pub mod huggingface;
mod kind;
mod pre_tokenizer_json;
mod read;
pub mod tiktoken;
mod unknown;
mod values;
mod vocabulary;
mod write;

pub(crate) use read::keep_last;
