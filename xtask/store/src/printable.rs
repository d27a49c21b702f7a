//! Text of strangers' files, made fit for a terminal.

use std::fmt::{self, Display};

/// Shows a name or other short text out of a file: on one line, with every control, bidirectional and invisible character
/// escaped as JSON does (`\u001b`), so that it can neither command the terminal nor look like something else.
pub fn printable(text: &str) -> impl Display + '_ {
    Printable { text, lines: false }
}

/// The same for a message of ours that may have several lines: line feeds and tabs stay as they are.
///
/// Text that has passed through [`printable`] is not changed, and valid JSON stays valid JSON with the same meaning.
pub fn printable_lines(text: &str) -> impl Display + '_ {
    Printable { text, lines: true }
}

struct Printable<'a> {
    text: &'a str,
    lines: bool,
}

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.text;
        while let Some(position) = rest.find(|character| self.is_escaped(character)) {
            f.write_str(&rest[..position])?;
            let Some(character) = rest[position..].chars().next() else { break };
            match character {
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                _ => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        write!(f, "\\u{unit:04x}")?;
                    }
                }
            }
            rest = &rest[position + character.len_utf8()..];
        }
        f.write_str(rest)
    }
}

impl Printable<'_> {
    fn is_escaped(&self, character: char) -> bool {
        match character {
            '\n' | '\t' => !self.lines,
            _ => is_hidden(character),
        }
    }
}

/// Whether a character moves the cursor, changes the direction of text, or is not seen at all: the categories Cc and Cf of
/// Unicode, the separators of lines and paragraphs, and what fonts show as nothing.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{890}'..='\u{891}'
                | '\u{8e2}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_a_terminal_is_shown_as_text() {
        assert_eq!(printable("a\u{1b}]0;title\u{7}\n\tb").to_string(), "a\\u001b]0;title\\u0007\\n\\tb");
        assert_eq!(printable("exe.\u{202e}gpj\u{9b}\u{200b}").to_string(), "exe.\\u202egpj\\u009b\\u200b");
        assert_eq!(printable("\u{e0041}").to_string(), "\\udb40\\udc41");
        assert_eq!(printable_lines("one\n\ttwo\r\u{85}").to_string(), "one\n\ttwo\\r\\u0085");
        for plain in ["", "model.layers.0.weight", "größe 4×8 モデル ✓ \\ \"", "क\u{94d}ष"] {
            assert_eq!(printable(plain).to_string(), plain);
        }
    }

    /// Unicode's own table would be a dependency; these are the categories by their effect.
    #[test]
    fn every_control_and_bidirectional_character_is_hidden() {
        let bidirectional = ('\u{202a}'..='\u{202e}')
            .chain('\u{2066}'..='\u{2069}')
            .chain(['\u{200e}', '\u{200f}', '\u{61c}']);
        let controls = ('\0'..='\u{1f}').chain('\u{7f}'..='\u{9f}');
        assert!(bidirectional.chain(controls).all(is_hidden));
    }

    #[test]
    fn json_stays_json() {
        let value = serde_json::json!({ "na\u{202e}me\u{7f}": "\u{1b}[2J\u{e0001}" });
        let text = printable_lines(&serde_json::to_string_pretty(&value).unwrap_or_default()).to_string();
        assert!(!text.contains('\u{202e}') && !text.contains('\u{7f}'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default(), value);
    }
}
