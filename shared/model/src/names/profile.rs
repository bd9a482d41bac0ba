//! The strict profile: every character of a name can be seen, and equal names are equal bytes.

use icu_normalizer::{ComposingNormalizer, ComposingNormalizerBorrowed};
use icu_properties::props::{DefaultIgnorableCodePoint, Emoji, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointMapDataBorrowed, CodePointSetData, CodePointSetDataBorrowed};

use super::{NameFault, join_controls};

const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizer::new_nfc();
const IGNORABLE: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<DefaultIgnorableCodePoint>();
const EMOJI: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<Emoji>();
const CATEGORIES: CodePointMapDataBorrowed<'static, GeneralCategory> = CodePointMapData::new();

/// A braille pattern without a dot: a symbol, and blank.
const BLANK_BRAILLE: char = '\u{2800}';
const TEXT_STYLE: char = '\u{FE0E}';
const EMOJI_STYLE: char = '\u{FE0F}';
const KEYCAP: char = '\u{20E3}';

/// Checks that a name has the strict profile.
pub(super) fn check(name: &str) -> Result<(), NameFault> {
    // Most names, without a table.
    if name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    check_white_space(name)?;
    let chars: Vec<char> = name.chars().collect();
    let invisible = (0..chars.len()).find(|at| is_invisible(&chars, *at));
    if let Some(invisible) = invisible.and_then(|at| chars.get(at)) {
        return Err(NameFault::Invisible((*invisible).into()));
    }
    if NFC.is_normalized(name) { Ok(()) } else { Err(NameFault::NotComposed) }
}

fn check_white_space(name: &str) -> Result<(), NameFault> {
    let is_at_end = name.starts_with(char::is_whitespace) || name.ends_with(char::is_whitespace);
    let is_double = || name.chars().zip(name.chars().skip(1)).any(|(a, b)| a.is_whitespace() && b.is_whitespace());
    if is_at_end || is_double() { Err(NameFault::WhiteSpace) } else { Ok(()) }
}

/// Returns true if the character at `at` cannot be seen, and changes nothing beside it that can.
fn is_invisible(name: &[char], at: usize) -> bool {
    let Some(&c) = name.get(at) else { return false };
    let category = CATEGORIES.get(c);
    let is_blank = c == BLANK_BRAILLE
        || matches!(
            category,
            GeneralCategory::Format | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator
        )
        || IGNORABLE.contains(c);
    is_blank && !is_emoji_style(name, at) && !join_controls::is_allowed(name, at)
}

/// Returns true for a variation selector that chooses the form of an emoji.
fn is_emoji_style(name: &[char], at: usize) -> bool {
    let (before, behind) = (at.checked_sub(1).and_then(|before| name.get(before)), name.get(at + 1));
    let Some(before) = before.filter(|_| matches!(name.get(at), Some(&(TEXT_STYLE | EMOJI_STYLE)))) else {
        return false;
    };
    // Digits, `#` and `*` are emoji by their property. Without a keycap behind it the selector
    // would make a second `ann1`.
    EMOJI.contains(*before) && (!before.is_ascii() || behind == Some(&KEYCAP))
}
