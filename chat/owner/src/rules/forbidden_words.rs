//! Finds and masks forbidden words, in any case and any form of their characters. Knows no rooms.

use std::iter;
use std::ops::Range;

use icu_casemap::{CaseMapper, CaseMapperBorrowed};
use icu_normalizer::{
    ComposingNormalizer, ComposingNormalizerBorrowed, DecomposingNormalizer, DecomposingNormalizerBorrowed,
};
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, CodePointMapDataBorrowed, CodePointSetData, CodePointSetDataBorrowed};

const CASES: CaseMapperBorrowed<'static> = CaseMapper::new();
const NFKC: ComposingNormalizerBorrowed<'static> = ComposingNormalizer::new_nfkc();
const NFKD: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizer::new_nfkd();
const IGNORABLE: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<DefaultIgnorableCodePoint>();
const CATEGORIES: CodePointMapDataBorrowed<'static, GeneralCategory> = CodePointMapData::new();

/// Vowels and final consonants of Hangul, which form a syllable with the characters before them.
const HANGUL_CONTINUATIONS: Range<char> = '\u{1160}'..'\u{1200}';

/// The forbidden words.
#[derive(Debug, Clone)]
pub(super) struct ForbiddenWords(Vec<Folded>);

impl ForbiddenWords {
    /// Takes words as an operator wrote them. Ignores white space around them, and empty ones.
    pub(super) fn new<'w>(words: impl IntoIterator<Item = &'w str>) -> Self {
        let folded = words.into_iter().map(|word| Folded::new(compose(word).trim()));
        Self(folded.filter(|word| !word.common.is_empty()).collect())
    }

    /// Returns true if one of the words occurs in `text`.
    pub(super) fn occur_in(&self, text: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let text = Folded::new(text);
        self.0.iter().any(|word| text.contains(word))
    }

    /// Returns `text` with `*` in the place of each character of the words.
    pub(super) fn mask(&self, text: &str) -> String {
        // Most messages have none, and finding the clusters costs more than this search.
        if !self.occur_in(text) {
            return text.to_owned();
        }
        let clusters: Vec<&str> = clusters(text).collect();
        let mut masked = vec![false; clusters.len()];
        for folding in [Folding::Common, Folding::Turkic] {
            let folded = FoldedClusters::new(text, &clusters, folding);
            for word in &self.0 {
                folded.mark(word.by(folding), &mut masked);
            }
        }
        let stars = |cluster: &str| "*".repeat(cluster.chars().count());
        let shown = clusters.iter().zip(masked);
        shown.map(|(cluster, masked)| if masked { stars(cluster) } else { (*cluster).to_owned() }).collect()
    }
}

/// The two case foldings of Unicode. They differ in `I` and `İ`, which Turkish reads as the
/// capitals of `ı` and `i`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Folding {
    Common,
    Turkic,
}

/// A text in the forms that are compared.
#[derive(Debug, Clone)]
struct Folded {
    common: String,
    /// `None` if it equals `common`.
    turkic: Option<String>,
}

impl Folded {
    fn new(text: &str) -> Self {
        let composed = compose(text);
        // The two capitals in which the foldings differ.
        let turkic = composed.contains(['I', 'İ']).then(|| fold_composed(&composed, Folding::Turkic));
        Self { common: fold_composed(&composed, Folding::Common), turkic }
    }

    fn by(&self, folding: Folding) -> &str {
        match (folding, &self.turkic) {
            (Folding::Turkic, Some(turkic)) => turkic,
            _ => &self.common,
        }
    }

    // A word is compared under one folding at a time. Treating `i` and `ı` as equal would find
    // words in others that Turkish distinguishes.
    fn contains(&self, word: &Self) -> bool {
        let is_turkic = self.turkic.is_some() || word.turkic.is_some();
        self.common.contains(&word.common) || (is_turkic && self.by(Folding::Turkic).contains(word.by(Folding::Turkic)))
    }
}

/// Folds a text like Unicode's NFKC_Casefold, but with a choice of the folding.
fn fold(text: &str, folding: Folding) -> String {
    fold_composed(&compose(text), folding)
}

/// Normalizes to NFKC without invisible characters.
fn compose(text: &str) -> String {
    // Between letters they hide a word from a filter, but not from a reader.
    let visible: String = text.chars().filter(|c| !IGNORABLE.contains(*c)).collect();
    NFKC.normalize(&visible).into_owned()
}

fn fold_composed(composed: &str, folding: Folding) -> String {
    let folded = match folding {
        Folding::Common => CASES.fold_string(composed),
        Folding::Turkic => CASES.fold_turkic_string(composed),
    };
    NFKC.normalize(&folded).into_owned()
}

/// Splits a text into pieces that fold independently: a character, and the marks behind it.
fn clusters(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    iter::from_fn(move || {
        let (_, first) = rest.char_indices().next()?;
        let behind = rest.char_indices().find(|(at, c)| *at >= first.len_utf8() && !continues(*c));
        let (cluster, after) = rest.split_at(behind.map_or(rest.len(), |(at, _)| at));
        rest = after;
        Some(cluster)
    })
}

/// Returns true for a character that may change together with the one before it.
fn continues(c: char) -> bool {
    let is_mark = |c| GeneralCategoryGroup::Mark.contains(CATEGORIES.get(c));
    let joins = |c| is_mark(c) || HANGUL_CONTINUATIONS.contains(&c);
    !c.is_ascii() && (IGNORABLE.contains(c) || NFKD.normalize_iter(iter::once(c)).next().is_some_and(joins))
}

/// A folded text, with the cluster of each part.
struct FoldedClusters {
    folded: String,
    /// The parts of `folded`, by cluster. Empty if clusters do not fold independently.
    parts: Vec<Range<usize>>,
}

impl FoldedClusters {
    fn new(text: &str, clusters: &[&str], folding: Folding) -> Self {
        let mut joined = String::new();
        let mut parts = Vec::with_capacity(clusters.len());
        for cluster in clusters {
            let start = joined.len();
            joined.push_str(&fold(cluster, folding));
            parts.push(start..joined.len());
        }
        let folded = fold(text, folding);
        // A later version of Unicode may have characters that join others and are no marks.
        if joined != folded {
            parts.clear();
        }
        Self { folded, parts }
    }

    /// Marks the clusters that an occurrence of `word` touches; all if the parts are unknown.
    fn mark(&self, word: &str, masked: &mut [bool]) {
        let mut from = 0;
        while let Some(start) = self.folded.get(from..).and_then(|rest| Some(from + rest.find(word)?)) {
            let end = start + word.len();
            if self.parts.is_empty() {
                masked.fill(true);
            }
            let first = self.parts.partition_point(|part| part.end <= start);
            for (part, masked) in self.parts.iter().zip(&mut *masked).skip(first) {
                if part.start >= end {
                    break;
                }
                *masked = true;
            }
            // Occurrences may overlap.
            from = start + word.chars().next().map_or(1, char::len_utf8);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(word: &str, text: &str) -> bool {
        ForbiddenWords::new([word]).occur_in(text)
    }

    fn masked(word: &str, text: &str) -> String {
        ForbiddenWords::new([word]).mask(text)
    }

    #[test]
    fn words_are_found_in_any_case() {
        for (word, text) in [
            ("Durian", "a dURIAn"),
            ("ΣΊΣΥΦΟΣ", "ο σίσυφος"),
            ("σίσυφος", "Ο ΣΊΣΥΦΟΣ"),
            ("σίσυφος", "σίσυφοσ"),
            ("İstanbul", "i̇stanbul"),
            ("istanbul", "İSTANBUL"),
            ("İSTANBUL", "istanbul"),
            ("ISTANBUL", "istanbul"),
            ("ılık", "ILIK"),
            ("ILIK", "ılık"),
            ("straße", "STRASSE"),
            ("STRASSE", "eine Straße"),
            ("Straße", "STRAẞE"),
            ("ᾳ", "ΑΙ"),
            ("ǆ", "ǅ"),
            ("ꭰꮃ", "ᎠᎳ"),
            ("ԱՐԵՒ", "արև"),
        ] {
            assert!(found(word, text), "{word} in {text}");
            assert!(!masked(word, text).contains(text), "{word} in {text}");
        }
    }

    #[test]
    fn words_are_found_in_any_form() {
        for (word, text) in [
            ("café", "cafe\u{301}"),
            ("cafe\u{301}", "CAFÉ"),
            ("durian", "ｄｕｒｉａｎ"),
            ("durian", "ＤＵＲＩＡＮ"),
            ("durian", "𝔡𝔲𝔯𝔦𝔞𝔫"),
            ("durian", "ⓓⓤⓡⓘⓐⓝ"),
            ("fig", "ﬁg"),
            ("FFI", "oﬃce"),
            ("å", "\u{212b}"),
            ("durian", "du\u{200b}ri\u{ad}a\u{2060}n"),
            ("du\u{200d}rian", "durian"),
            ("ガ", "ｶﾞ"),
            ("한", "\u{1112}\u{1161}\u{11ab}"),
            ("durian", "durian\u{308}"),
        ] {
            assert!(found(word, text), "{word} in {text}");
            assert!(!masked(word, text).contains(text), "{word} in {text}");
        }
    }

    #[test]
    fn other_words_are_not_found() {
        for (word, text) in
            [("sik", "sık"), ("SIK", "sİk"), ("cafe", "café"), ("durian", "duria n"), ("ab", "a\u{301}b")]
        {
            assert!(!found(word, text), "{word} in {text}");
            assert_eq!(masked(word, text), text);
        }
        for nothing in ["", " ", "\u{200b}", " \u{feff} "] {
            assert!(!found(nothing, "a \u{200b} b"), "{nothing:?}");
        }
    }

    #[test]
    fn each_character_of_a_word_becomes_a_star() {
        for (word, text, shown) in [
            ("durian", "Durian, ädurian", "******, ä******"),
            ("strasse", "Die Straße 7", "Die ****** 7"),
            ("fi", "ﬁg", "*g"),
            ("istanbul", "İstanbul'da", "********'da"),
            ("ısı", "ISI, ısı, ISI", "***, ***, ***"),
            ("durian", "a du\u{200b}rian!", "a *******!"),
            ("aa", "aaa b", "*** b"),
            ("é", "cafe\u{301} 😀", "caf** 😀"),
            ("σ", "Σς", "**"),
        ] {
            assert_eq!(masked(word, text), shown, "{word} in {text}");
        }
    }

    proptest! {
        #[test]
        fn masked_text_has_no_forbidden_word(before in "\\PC{0,6}", word in "[^*]{1,4}", behind in "\\PC{0,6}") {
            let words = ForbiddenWords::new([word.as_str()]);
            // Some characters are folded to a star.
            prop_assume!(!fold(&word, Folding::Common).contains('*'));
            let text = format!("{before}{word}{behind}");
            let masked = words.mask(&text);
            prop_assert!(!words.occur_in(&masked), "{:?} in {:?}", word, masked);
            prop_assert_eq!(masked.chars().count(), text.chars().count());
        }

        #[test]
        fn clusters_fold_independently(text in any::<String>()) {
            let clusters: Vec<&str> = clusters(&text).collect();
            prop_assert_eq!(clusters.concat(), text.as_str());
            for folding in [Folding::Common, Folding::Turkic] {
                prop_assert_eq!(FoldedClusters::new(&text, &clusters, folding).parts.len(), clusters.len());
            }
        }
    }
}
