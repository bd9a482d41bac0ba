//! The two characters that join and part others, where scripts and emoji need them (UAX #31,
//! Unicode's emoji sequences).

use icu_properties::props::{
    CanonicalCombiningClass, EmojiModifier, ExtendedPictographic, GeneralCategory, GeneralCategoryGroup, JoiningType,
    Script,
};
use icu_properties::{CodePointMapData, CodePointMapDataBorrowed, CodePointSetData, CodePointSetDataBorrowed};

const NON_JOINER: char = '\u{200C}';
const JOINER: char = '\u{200D}';
const STYLES: [char; 2] = ['\u{FE0E}', '\u{FE0F}'];

const PICTOGRAPHIC: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<ExtendedPictographic>();
const MODIFIERS: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<EmojiModifier>();
const JOINING: CodePointMapDataBorrowed<'static, JoiningType> = CodePointMapData::new();
const CLASSES: CodePointMapDataBorrowed<'static, CanonicalCombiningClass> = CodePointMapData::new();
const CATEGORIES: CodePointMapDataBorrowed<'static, GeneralCategory> = CodePointMapData::new();
const SCRIPTS: CodePointMapDataBorrowed<'static, Script> = CodePointMapData::new();

/// Returns true for a joiner or non-joiner at `at` that changes how its neighbours are shown.
pub(super) fn is_allowed(name: &[char], at: usize) -> bool {
    let (before, behind) = (name.get(..at).unwrap_or_default(), name.get(at + 1..).unwrap_or_default());
    match name.get(at) {
        Some(&JOINER) => joins_emoji(before, behind) || is_behind_virama(before, behind),
        Some(&NON_JOINER) => parts_cursive(before, behind) || is_behind_virama(before, behind),
        _ => false,
    }
}

/// Returns true between two pictures, of which the first may have a skin tone and a style.
fn joins_emoji(before: &[char], behind: &[char]) -> bool {
    let extends = |c: &&char| STYLES.contains(c) || MODIFIERS.contains(**c);
    let base = before.iter().rev().find(|c| !extends(c));
    base.is_some_and(|c| PICTOGRAPHIC.contains(*c)) && behind.first().is_some_and(|c| PICTOGRAPHIC.contains(*c))
}

/// Returns true between two letters that would be joined otherwise (Arabic, Syriac, Mongolian).
fn parts_cursive(before: &[char], behind: &[char]) -> bool {
    let is_letter = |c: &&char| JOINING.get(**c) != JoiningType::Transparent;
    let joins = |c: Option<&char>, kinds: [JoiningType; 2]| c.is_some_and(|c| kinds.contains(&JOINING.get(*c)));
    joins(before.iter().rev().find(is_letter), [JoiningType::LeftJoining, JoiningType::DualJoining])
        && joins(behind.iter().find(is_letter), [JoiningType::RightJoining, JoiningType::DualJoining])
}

/// Returns true between two letters of one script, behind the sign that takes the first one's vowel
/// (Indic scripts).
fn is_behind_virama(before: &[char], behind: &[char]) -> bool {
    let is_mark = |c: &&char| GeneralCategoryGroup::Mark.contains(CATEGORIES.get(**c));
    let is_letter = |c: &char| GeneralCategoryGroup::Letter.contains(CATEGORIES.get(*c));
    let is_virama = |c: &char| CLASSES.get(*c) == CanonicalCombiningClass::Virama;
    let letter = before.iter().rev().find(|c| !is_mark(c));
    let (Some(letter), Some(next)) = (letter, behind.first()) else { return false };
    before.last().is_some_and(is_virama)
        && is_letter(letter)
        && is_letter(next)
        && SCRIPTS.get(*letter) == SCRIPTS.get(*next)
}
