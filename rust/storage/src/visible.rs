//! Names from disk made safe to print: no control character of a file name or manifest reaches a terminal.

use std::fmt::{self, Write};
use std::path::Path;

/// Displays a text with control characters, and those that change the direction of writing, as `\u{1b}`.
pub(crate) struct Visible<'a>(pub &'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| {
            if is_unsafe(character) {
                write!(f, "{}", character.escape_unicode())
            } else {
                f.write_char(character)
            }
        })
    }
}

/// A path as `Visible` shows it; bytes that are not UTF-8 become the replacement character.
pub(crate) fn visible_path(path: &Path) -> String {
    Visible(&path.to_string_lossy()).to_string()
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_direction_characters_are_escaped_and_letters_stay() {
        assert_eq!(
            Visible("a\x1b[2J\u{202e}é\n").to_string(),
            "a\\u{1b}[2J\\u{202e}é\\u{a}"
        );
        assert_eq!(visible_path(Path::new("x/\x07y")), "x/\\u{7}y");
    }
}
