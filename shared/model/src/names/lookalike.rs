//! Names that look like others: skeletons of Unicode's UTS 39, compared where confusion would harm.

use icu_normalizer::{ComposingNormalizer, ComposingNormalizerBorrowed};
use icu_properties::props::Script;
use icu_properties::script::ScriptWithExtensions;

const NFKC: ComposingNormalizerBorrowed<'static> = ComposingNormalizer::new_nfkc();

/// Scripts of Chinese, Japanese and Korean.
const CJK: [Script; 5] = [Script::Han, Script::Hiragana, Script::Katakana, Script::Hangul, Script::Bopomofo];

/// Reserved names, as their skeletons.
#[derive(Debug, Clone)]
pub(super) struct Reserved(Vec<[String; 2]>);

impl Reserved {
    /// Takes the names that no client may have.
    pub(super) fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self(names.into_iter().map(cased_skeletons).collect())
    }

    /// Returns true if a name looks like one of them, in any case of its letters.
    pub(super) fn is_imitated_by(&self, name: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let [lower, upper] = cased_skeletons(name);
        self.0.iter().any(|[reserved, capital]| *reserved == lower || *capital == upper)
    }
}

/// Returns the skeletons in lower and in upper case.
// Both, because letters of other scripts look like Latin ones in one case alone: a Greek capital
// epsilon does, a small one does not.
fn cased_skeletons(name: &str) -> [String; 2] {
    let composed = NFKC.normalize(name);
    [composed.to_lowercase(), composed.to_uppercase()].map(|name| skeleton(&NFKC.normalize(&name)))
}

fn skeleton(name: &str) -> String {
    unicode_security::skeleton(name).collect()
}

/// Returns the skeleton of an ASCII name, which others may imitate; `None` for other names.
pub fn ascii_skeleton(name: &str) -> Option<String> {
    name.is_ascii().then(|| skeleton(name))
}

/// Returns the skeleton of a name that may imitate an ASCII name.
///
/// `None` for a name of ASCII and CJK characters alone: `al` and `a1`, `力` and `カ` have the same
/// skeletons, and people distinguish them.
pub fn imitated_skeleton(name: &str) -> Option<String> {
    let scripts = ScriptWithExtensions::new();
    let is_plain = |c: char| c.is_ascii() || CJK.iter().any(|script| scripts.has_script(c, *script));
    (!name.chars().all(is_plain)).then(|| skeleton(name))
}
