//! The common dialect of our regular expressions and Oniguruma's with Ruby syntax, which the `tokenizers` library uses. Each
//! construct is accepted, rewritten, or refused by name; what is not known to be equal is refused.
//!
//! Refused although both engines accept it, because the meaning differs: `^` and `$` (per line in Ruby), flags other than
//! `(?i:...)` around plain ASCII, `{n,m}+` (Ruby repeats the repetition), POSIX brackets (Unicode there, ASCII here), `--` and
//! `~~` in classes (operators here).

use std::iter::Peekable;
use std::str::CharIndices;

/// An expression rewritten for our engines, split at the `|` that are outside of groups.
#[derive(Debug, PartialEq)]
pub struct Translated {
    /// In order; the first match wins.
    pub alternatives: Vec<Alternative>,
}

/// One alternative.
#[derive(Debug, Default, PartialEq)]
pub struct Alternative {
    /// In the syntax of our engines.
    pub text: String,
    /// Contains look-around, an atomic group or a possessive repetition, which a linear engine does not support.
    pub looks: bool,
}

impl Translated {
    /// The whole expression.
    pub fn whole(&self) -> String {
        let texts: Vec<&str> = self
            .alternatives
            .iter()
            .map(|one| one.text.as_str())
            .collect();
        texts.join("|")
    }
}

type Outcome<T = ()> = Result<T, String>;

/// The maximum nesting of groups and classes.
const DEEPEST: usize = 100;
/// Oniguruma's word characters: those of our `\w` except the two joiners.
const WORD: &str = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}";
/// Outside of a class, Oniguruma also counts Latin-1's superscript digits and fractions.
const WORD_ALONE: &str = r"\xB2\xB3\xB9\xBC-\xBE";
/// Characters that fold to several characters under `(?i:...)` in Oniguruma: ß, ff, fi, fl, st and the like.
const FOLDED_PAIRS: [&str; 5] = ["ss", "ff", "fi", "fl", "st"];

/// Rewrites `source`.
///
/// # Errors
/// What is malformed or not supported, as a sentence.
pub fn translate(source: &str) -> Outcome<Translated> {
    let mut translator = Translator {
        source,
        rest: source.char_indices().peekable(),
        done: Vec::new(),
        current: Alternative::default(),
        depth: 0,
        repeatable: false,
    };
    translator.expression()?;
    let Translator {
        mut done, current, ..
    } = translator;
    done.push(current);
    Ok(Translated { alternatives: done })
}

struct Translator<'s> {
    source: &'s str,
    rest: Peekable<CharIndices<'s>>,
    /// Completed alternatives.
    done: Vec<Alternative>,
    current: Alternative,
    depth: usize,
    /// Whether a repetition may follow.
    repeatable: bool,
}

impl<'s> Translator<'s> {
    fn next(&mut self) -> Option<char> {
        self.rest.next().map(|(_, character)| character)
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().map(|&(_, character)| character)
    }

    fn next_if(&mut self, wanted: char) -> bool {
        self.rest.next_if(|&(_, found)| found == wanted).is_some()
    }

    /// The rest of the expression.
    fn ahead(&mut self) -> &'s str {
        let at = self.rest.peek().map_or(self.source.len(), |&(at, _)| at);
        &self.source[at..]
    }

    fn skip(&mut self, characters: usize) {
        for _ in 0..characters {
            self.rest.next();
        }
    }

    fn emit(&mut self, text: &str) {
        self.current.text.push_str(text);
    }

    fn emit_literal(&mut self, character: char) {
        if "\\.+*?()|[]{}^$#&-~".contains(character) {
            self.current.text.push('\\');
        }
        self.current.text.push(character);
    }

    fn expression(&mut self) -> Outcome {
        while let Some(character) = self.next() {
            match character {
                '|' if self.depth == 0 => {
                    self.done.push(std::mem::take(&mut self.current));
                    self.repeatable = false;
                }
                '|' => {
                    self.emit("|");
                    self.repeatable = false;
                }
                '(' => self.open_group()?,
                ')' if self.depth == 0 => return Err("a ) without a group".to_owned()),
                ')' => {
                    self.depth -= 1;
                    self.emit(")");
                    self.repeatable = true;
                }
                '*' | '+' | '?' => self.repeat(character)?,
                '{' => self.repeat_counted()?,
                '[' => self.class(0)?,
                '\\' => self.escape(false)?,
                '^' | '$' => {
                    return Err(format!(
                        "{character} (lines in Ruby's syntax) is not supported"
                    ));
                }
                '.' => self.atom("."),
                _ => {
                    self.emit_literal(character);
                    self.repeatable = true;
                }
            }
        }
        if self.depth > 0 {
            return Err("a group is not closed".to_owned());
        }
        Ok(())
    }

    fn atom(&mut self, text: &str) {
        self.emit(text);
        self.repeatable = true;
    }

    fn open_group(&mut self) -> Outcome {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("groups are nested deeper than {DEEPEST}"));
        }
        self.repeatable = false;
        if self.peek() != Some('?') {
            self.emit("(?:");
            return Ok(());
        }
        let ahead = self.ahead();
        if ahead.starts_with("?i:") {
            return self.any_case();
        }
        for (opening, looks) in [
            ("?:", false),
            ("?=", true),
            ("?!", true),
            ("?<=", true),
            ("?<!", true),
            ("?>", true),
        ] {
            if ahead.starts_with(opening) {
                self.skip(opening.len());
                self.emit("(");
                self.emit(opening);
                self.current.looks |= looks;
                return Ok(());
            }
        }
        let shown: String = ahead.chars().take(6).collect();
        Err(format!("the group ({shown}... is not supported"))
    }

    /// `(?i:...)` around ASCII letters, apostrophes and `|`.
    fn any_case(&mut self) -> Outcome {
        let ahead = self.ahead();
        let inside = ahead
            .strip_prefix("?i:")
            .and_then(|rest| rest.split_once(')'))
            .map_or("", |(inside, _)| inside);
        let is_plain =
            |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'\'' | b'|' | b' ' | b'_');
        let folded = inside.to_ascii_lowercase();
        if inside.is_empty()
            || !inside.bytes().all(is_plain)
            || FOLDED_PAIRS.iter().any(|pair| folded.contains(pair))
        {
            return Err("(?i:...) is supported only around ASCII letters, apostrophes and |, without ss, ff, fi, fl and st".to_owned());
        }
        self.emit("(?i:");
        self.emit(inside);
        self.skip("?i:".len() + inside.len());
        Ok(())
    }

    fn repeat(&mut self, kind: char) -> Outcome {
        self.check_repeatable(kind)?;
        self.current.text.push(kind);
        if self.next_if('?') {
            self.emit("?");
        } else if self.next_if('+') {
            self.emit("+");
            self.current.looks = true;
        }
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}`.
    fn repeat_counted(&mut self) -> Outcome {
        self.check_repeatable('{')?;
        let (counts, _) = self.ahead().split_once('}').ok_or("a { is not closed")?;
        let (min, max) = counts.split_once(',').unwrap_or((counts, counts));
        let number = |text: &str| {
            text.parse::<u32>()
                .ok()
                .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let valid = match (number(min), max, number(max)) {
            (Some(_), "", _) => true,
            (Some(min), _, Some(max)) => min <= max,
            _ => false,
        };
        if !valid {
            return Err(format!("the repetition {{{counts}}} is not supported"));
        }
        self.emit(&format!("{{{counts}}}"));
        self.skip(counts.len() + 1);
        match self.peek() {
            Some('?') if counts.contains(',') => {
                self.skip(1);
                self.emit("?");
                Ok(())
            }
            Some(next @ ('+' | '?')) => Err(format!(
                "{{{counts}}}{next} (possessive or optional, by the engine) is not supported"
            )),
            _ => Ok(()),
        }
    }

    fn check_repeatable(&mut self, kind: char) -> Outcome {
        if !std::mem::take(&mut self.repeatable) {
            return Err(format!("{kind} follows nothing, or a repetition"));
        }
        Ok(())
    }

    /// The construct after a backslash.
    fn escape(&mut self, in_class: bool) -> Outcome {
        self.repeatable = true;
        let escaped = self.next().ok_or("it ends in a backslash")?;
        match escaped {
            's' | 'S' | 'd' | 'D' | 'n' | 'r' | 't' | 'f' | 'v' | 'a' => {
                self.current.text.push('\\');
                self.current.text.push(escaped);
            }
            'w' if in_class => self.emit(&format!("[{WORD}]")),
            'W' if in_class => self.emit(&format!("[^{WORD}]")),
            'w' => self.emit(&format!("[{WORD}{WORD_ALONE}]")),
            'W' => self.emit(&format!("[^{WORD}{WORD_ALONE}]")),
            'p' | 'P' => return self.property(escaped),
            'x' | 'u' => return self.code_point(escaped),
            'A' | 'z' if !in_class => {
                self.current.text.push('\\');
                self.current.text.push(escaped);
                self.repeatable = false;
            }
            _ if escaped.is_ascii_punctuation() || escaped == ' ' => self.emit_literal(escaped),
            _ => return Err(format!("\\{escaped} is not supported")),
        }
        Ok(())
    }

    /// `\p{Name}`.
    fn property(&mut self, kind: char) -> Outcome {
        let name = self
            .ahead()
            .strip_prefix('{')
            .and_then(|rest| rest.split_once('}'));
        let name = name.map_or("", |(name, _)| name);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        // Oniguruma's class has nine symbols that the general category does not have.
        if name.is_empty() || !name.bytes().all(is_plain) || name.eq_ignore_ascii_case("punct") {
            return Err(format!(
                "\\{kind}{{{name}}} is not supported; write \\p{{Name}} with a category or a script"
            ));
        }
        self.emit(&format!("\\{kind}{{{name}}}"));
        self.skip(name.len() + 2);
        Ok(())
    }

    /// `\xHH` below 80, `\x{H...}` or `\uHHHH`.
    fn code_point(&mut self, kind: char) -> Outcome {
        let ahead = self.ahead();
        let braced = ahead
            .strip_prefix('{')
            .filter(|_| kind == 'x')
            .and_then(|rest| rest.split_once('}'));
        let digits = if kind == 'x' { 2 } else { 4 };
        let (digits, taken) = match braced {
            Some((digits, _)) => (digits, digits.len() + 2),
            None => (ahead.get(..digits).unwrap_or(""), digits),
        };
        let code = u32::from_str_radix(digits, 16)
            .ok()
            .filter(|_| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let character = code.and_then(char::from_u32);
        // Two digits are a byte in Oniguruma, and bytes from 80 on are not characters.
        match character.filter(|&one| braced.is_some() || kind == 'u' || one.is_ascii()) {
            Some(character) => {
                self.emit(&format!("\\x{{{:X}}}", u32::from(character)));
                self.skip(taken);
                Ok(())
            }
            None => Err(format!(
                "\\{kind}{digits} is not supported; write \\x{{...}}"
            )),
        }
    }

    /// A character class, after its opening bracket.
    fn class(&mut self, depth: usize) -> Outcome {
        if depth > DEEPEST {
            return Err(format!("classes are nested deeper than {DEEPEST}"));
        }
        self.emit("[");
        if self.next_if('^') {
            self.emit("^");
        }
        if self.peek() == Some(']') {
            return Err("a class that begins with ] is not supported; write \\]".to_owned());
        }
        loop {
            let ahead = self.ahead();
            if let Some(operator) = ["--", "~~", "[:"]
                .iter()
                .find(|operator| ahead.starts_with(**operator))
            {
                return Err(format!("{operator} in a class is not supported"));
            }
            if ahead.starts_with("&&") {
                self.skip(2);
                self.emit("&&");
                continue;
            }
            match self.next().ok_or("a class is not closed")? {
                ']' => break,
                '[' => self.class(depth + 1)?,
                '\\' => self.escape(true)?,
                '-' => self.emit("-"),
                other => self.emit_literal(other),
            }
        }
        self.emit("]");
        self.repeatable = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(source: &str) -> String {
        translate(source).unwrap().whole()
    }

    #[test]
    fn an_equivalent_construct_is_accepted() {
        for same in [
            r"\p{L}+|\s+(?!\S)",
            r"[^\r\n\p{L}]?\p{Lu}{1,3}?",
            r"(?:a|b)*?c",
            r"(?i:'s|'t)",
            r"[a-z&&[^b]]",
        ] {
            assert_eq!(whole(same), same);
        }
        assert_eq!(whole(r"(a)\/\<"), r"(?:a)/<");
        assert_eq!(whole("\\u3042\\x41"), r"\x{3042}\x{41}");
        let translated = translate("a|(?:b|c)|d++").unwrap();
        let looks: Vec<bool> = translated
            .alternatives
            .iter()
            .map(|one| one.looks)
            .collect();
        assert_eq!(looks, [false, false, true]);
    }

    #[test]
    fn a_construct_with_another_meaning_is_refused() {
        for (other, why) in [
            (r"^a", "^ (lines"),
            (r"a$", "$ (lines"),
            (r"\p{N}{1,3}+", "{1,3}+"),
            (r"[[:alpha:]]", "[:"),
            (r"[a--b]", "--"),
            (r"(?i:stress)", "(?i:...)"),
            (r"(?i)a", "(?i)a"),
            (r"(a)\1", "\\1"),
            (r"\b", "\\b"),
            (r"\p{^L}", "\\p"),
            (r"\pL", "\\p"),
            (r"\p{Punct}", "\\p"),
            (r"a**", "* follows"),
            (r"a{2}{3}", "{ follows"),
            (r"a{,3}", "{,3}"),
            (r"(a", "not closed"),
            (r"a)", "without a group"),
            (r"[a", "not closed"),
            ("a\\", "backslash"),
            (r"\xE9", "\\xE9"),
        ] {
            let problem = translate(other).unwrap_err();
            assert!(problem.contains(why), "{other}: {problem}");
        }
        assert!(translate(&"(".repeat(200)).is_err());
        assert!(translate(&"[".repeat(200)).is_err());
    }
}
