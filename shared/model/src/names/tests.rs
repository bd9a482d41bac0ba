use proptest::prelude::*;

use super::*;

fn policy() -> NamePolicy {
    NamePolicy::new(&NameSettings::default())
}

fn checked(name: &str) -> Result<(), NameFault> {
    policy().check(&Name::new(name).unwrap())
}

#[test]
fn names_in_the_scripts_of_the_world_pass() {
    let names = [
        "ann",
        "Ann Lee",
        "py_user_2",
        "1001",
        "a1",
        "~tilde",
        "<script>",
        "Zoë",
        "Łukasz",
        "Σωκράτης",
        "Иван",
        "张三",
        "老王_123",
        "力",
        "カ",
        "ﾊﾝｶｸ",
        "한국어",
        "ひらがな",
        "علي",
        "שרה",
        "हिन्दी",
        "தமிழ்",
        "ไทย",
        "𝒜nn",
        "😀",
    ];
    for name in names {
        assert_eq!(checked(name), Ok(()), "{name:?}");
    }
}

#[test]
fn what_scripts_and_emoji_need_passes() {
    let names = [
        ("Persian, a non-joiner between letters", "نامه\u{200c}ای"),
        ("Sinhala, a joiner behind a virama", "ක\u{dca}\u{200d}රී"),
        ("Hindi, a non-joiner behind a virama", "क\u{94d}\u{200c}ष"),
        ("a heart in colour", "\u{2764}\u{fe0f}"),
        ("a heart in text style", "\u{2764}\u{fe0e}"),
        ("a keycap", "1\u{fe0f}\u{20e3}"),
        ("a family", "👨\u{200d}👩\u{200d}👧"),
        ("a rainbow flag", "🏳\u{fe0f}\u{200d}🌈"),
        ("a skin tone, and a hair colour", "👨🏽\u{200d}🦰"),
        ("a judge", "🧑\u{200d}⚖\u{fe0f}"),
    ];
    for (what, name) in names {
        assert_eq!(checked(name), Ok(()), "{what}");
    }
}

#[test]
fn invisible_characters_are_refused() {
    let names = [
        "ann\u{200b}",
        "\u{200b}",
        "an\u{200d}n",
        "ann\u{200c}",
        "ann\u{3164}",
        "\u{115f}ann",
        "ann\u{ffa0}",
        "\u{2800}",
        "\u{202e}nna",
        "a\u{2066}nn",
        "ann\u{feff}",
        "an\u{ad}n",
        "ann\u{34f}",
        "ann\u{fe0f}",
        "ann1\u{fe0f}",
        "©\u{fe0f}\u{200d}a",
        "ann\u{e0101}",
        "ann\u{e0020}",
        "a\u{2028}b",
        "a\u{2029}b",
        "😀\u{200d}",
        "\u{200d}😀",
        "😀\u{200d}a",
        "क\u{94d}\u{200c}",
        "क\u{94d}\u{200c}a",
        "علي\u{200c}",
    ];
    for name in names {
        assert!(matches!(checked(name), Err(NameFault::Invisible(_))), "{name:?}: {:?}", checked(name));
    }
}

#[test]
fn white_space_is_between_visible_characters_and_single() {
    for name in [" ", " ann", "ann ", "ann\u{a0}", "\u{3000}ann", "a  b", "a \u{2003}b"] {
        assert_eq!(checked(name), Err(NameFault::WhiteSpace), "{name:?}");
    }
}

#[test]
fn a_decomposed_name_is_refused() {
    assert_eq!(checked("cafe\u{301}"), Err(NameFault::NotComposed));
    assert_eq!(checked("\u{1112}\u{1161}\u{11ab}"), Err(NameFault::NotComposed));
    assert_eq!(checked("café"), Ok(()));
}

/// `system`, in spellings that readers take for it.
const SYSTEMS: [&str; 20] = [
    "system",
    "SYSTEM",
    "System",
    "sYsTeM",
    "ｓｙｓｔｅｍ",
    "ＳＹＳＴＥＭ",
    "ѕystem",
    "sуstem",
    "ѕуѕtеm",
    "SYSTEМ",
    "SYSTΕM",
    "ЅYSTEM",
    "𝐬𝐲𝐬𝐭𝐞𝐦",
    "𝕤𝕪𝕤𝕥𝕖𝕞",
    "𝓼𝔂𝓼𝓽𝓮𝓶",
    "ⓢⓨⓢⓣⓔⓜ",
    "systern",
    "ꜱystem",
    "sүstem",
    "ＳYSTEＭ",
];

#[test]
fn a_reserved_name_is_refused_in_many_spellings() {
    for name in SYSTEMS {
        assert_eq!(checked(name), Err(NameFault::Reserved), "{name:?}");
    }
    for name in ["systems", "sistem", "system1", "my system", "стем"] {
        assert_eq!(checked(name), Ok(()), "{name:?}");
    }
}

#[test]
fn any_name_passes_where_the_profile_is_any() {
    let policy = NamePolicy::new(&NameSettings { profile: NameProfile::Any, ..NameSettings::default() });
    for name in ["ann\u{200b}", " ", "cafe\u{301}", "system"] {
        assert_eq!(policy.check(&Name::new(name).unwrap()), Ok(()), "{name:?}");
    }
}

#[test]
fn names_of_other_scripts_imitate_ascii_names() {
    let ann = ascii_skeleton("ann");
    for name in ["аnn", "аոո", "ａｎｎ", "𝐚𝐧𝐧", "a\u{578}n"] {
        assert_eq!(imitated_skeleton(name), ann, "{name:?}");
    }
    for name in ["Анна", "änn", "анн"] {
        assert_ne!(imitated_skeleton(name), ann, "{name:?}");
    }
}

#[test]
fn ascii_and_cjk_names_imitate_none() {
    for name in ["al", "a1", "力", "カ", "ー", "ノ", "老王_123", "한글"] {
        assert_eq!(imitated_skeleton(name), None, "{name:?}");
    }
    assert_eq!(ascii_skeleton("al"), ascii_skeleton("a1"), "the reason for which ASCII names are not compared");
    assert_eq!(ascii_skeleton("ännn"), None);
}

proptest! {
    /// The pattern for names of Pomelo's chat page.
    #[test]
    fn names_of_pomelos_page_pass(name in "[a-zA-Z0-9_\u{4e00}-\u{9fa5}]{1,64}") {
        let policy = NamePolicy::new(&NameSettings { reserved: Vec::new(), ..NameSettings::default() });
        prop_assert_eq!(policy.check(&Name::new(&name).unwrap()), Ok(()));
    }

    /// Any text is checked without a panic, and what passes is seen: the check of what is left of
    /// it does not depend on what was before.
    #[test]
    fn an_invisible_character_makes_no_second_name(name in "[a-z0-9]{1,8}", at in 0_usize..8, hidden in
        prop::sample::select(vec!['\u{200b}', '\u{200c}', '\u{200d}', '\u{fe0f}', '\u{3164}', '\u{ad}', '\u{2800}'])) {
        let at = at.min(name.len());
        let second = format!("{}{hidden}{}", &name[..at], &name[at..]);
        prop_assert!(policy().check(&Name::new(&second).unwrap()).is_err(), "{:?}", second);
    }

    #[test]
    fn any_text_is_checked(name in ".{1,64}") {
        if let Ok(name) = Name::new(&name) {
            policy().check(&name).ok();
            let skeletons = [ascii_skeleton(name.as_str()), imitated_skeleton(name.as_str())];
            prop_assert!(skeletons.contains(&None), "an ASCII name imitates none: {:?}", name);
        }
    }
}
