//! The language of a text, by the `whatlang` crate: trigrams of 70 languages, no model file.

use whatlang::{Lang, detect};

use crate::error::Error;

/// Bytes of a text that are looked at: its start, cut between two characters.
const SAMPLE_BYTES: usize = 2048;
/// ISO 639-1 codes of the languages of `whatlang`, which names them by ISO 639-3.
const SHORT: &[(&str, &str)] = &[
    ("af", "afr"),
    ("ar", "ara"),
    ("az", "aze"),
    ("be", "bel"),
    ("bg", "bul"),
    ("bn", "ben"),
    ("ca", "cat"),
    ("cs", "ces"),
    ("cy", "cym"),
    ("da", "dan"),
    ("de", "deu"),
    ("el", "ell"),
    ("en", "eng"),
    ("eo", "epo"),
    ("es", "spa"),
    ("et", "est"),
    ("fa", "pes"),
    ("fi", "fin"),
    ("fr", "fra"),
    ("gu", "guj"),
    ("he", "heb"),
    ("hi", "hin"),
    ("hr", "hrv"),
    ("hu", "hun"),
    ("hy", "hye"),
    ("id", "ind"),
    ("it", "ita"),
    ("ja", "jpn"),
    ("jv", "jav"),
    ("ka", "kat"),
    ("km", "khm"),
    ("kn", "kan"),
    ("ko", "kor"),
    ("la", "lat"),
    ("lt", "lit"),
    ("lv", "lav"),
    ("mk", "mkd"),
    ("ml", "mal"),
    ("mr", "mar"),
    ("my", "mya"),
    ("nb", "nob"),
    ("ne", "nep"),
    ("nl", "nld"),
    ("or", "ori"),
    ("pa", "pan"),
    ("pl", "pol"),
    ("pt", "por"),
    ("ro", "ron"),
    ("ru", "rus"),
    ("si", "sin"),
    ("sk", "slk"),
    ("sl", "slv"),
    ("sn", "sna"),
    ("sr", "srp"),
    ("sv", "swe"),
    ("ta", "tam"),
    ("te", "tel"),
    ("th", "tha"),
    ("tk", "tuk"),
    ("tl", "tgl"),
    ("tr", "tur"),
    ("uk", "ukr"),
    ("ur", "urd"),
    ("uz", "uzb"),
    ("vi", "vie"),
    ("yi", "yid"),
    ("zh", "cmn"),
    ("zu", "zul"),
];

/// The languages that are kept.
pub struct Languages {
    kept: Vec<Lang>,
    min_confidence: f64,
}

impl Languages {
    /// Languages by ISO 639-1 or 639-3 code; a text in one of them stays if the detector's confidence (0 to 1) is at
    /// least `min_confidence`.
    ///
    /// # Errors
    /// [`Error::UnknownLanguage`].
    pub fn new(codes: &[String], min_confidence: f64) -> Result<Self, Error> {
        let of = |code: &String| {
            language(code).ok_or_else(|| Error::UnknownLanguage { code: code.clone() })
        };
        let kept: Result<Vec<Lang>, Error> = codes.iter().map(of).collect();
        Ok(Self {
            kept: kept?,
            min_confidence,
        })
    }

    /// The language of a text that does not stay, and the confidence; `unknown` and 0 where there is none.
    #[must_use]
    pub fn foreign(&self, text: &str) -> Option<(&'static str, f64)> {
        let Some(found) = detect(beginning(text)) else {
            return Some(("unknown", 0.0));
        };
        let stays = self.kept.contains(&found.lang()) && found.confidence() >= self.min_confidence;
        (!stays).then(|| (found.lang().code(), found.confidence()))
    }
}

/// At most `SAMPLE_BYTES` of the text's start.
fn beginning(text: &str) -> &str {
    let end = (0..=SAMPLE_BYTES.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

fn language(code: &str) -> Option<Lang> {
    let long = SHORT.iter().find(|(short, _)| *short == code);
    Lang::from_code(long.map_or(code, |(_, long)| long))
}
