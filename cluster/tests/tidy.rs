//! The order of the house: the dependencies of each crate, and one place for each subject.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// The crates of the workspace that each crate may use.
const ALLOWED: [(&str, &[&str]); 7] = [
    ("wire", &[]),
    ("shared", &["wire"]),
    ("gate", &["shared", "wire"]),
    ("connector", &["shared", "wire"]),
    ("chat", &["shared", "wire"]),
    ("client", &["wire"]),
    ("cluster", &["chat", "connector", "gate", "shared", "wire"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn dependencies_point_one_way() {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().other_options(["--offline".to_owned()]).exec();
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ALLOWED.iter().map(|(name, uses)| (*name, uses.iter().copied().collect())).collect();
    let packages = metadata.unwrap().packages;
    assert_eq!(packages.len(), allowed.len(), "a crate is missing in this test");
    for package in packages {
        let uses = &allowed[package.name.as_str()];
        let ours = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal && d.path.is_some());
        for dependency in ours {
            assert!(uses.contains(dependency.name.as_str()), "{} must not use {}", package.name, dependency.name);
        }
    }
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("tests.rs") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file of the crates, tests left out.
fn all_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (name, _) in ALLOWED {
        sources(&root().join(name).join("src"), &mut found);
    }
    assert!(found.len() > 50, "the sources were not found");
    found
}

#[test]
fn subjects_are_spelled_in_one_place() {
    for path in all_sources() {
        if path.ends_with("shared/src/subjects.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for prefix in ["\"chat.{", "\"connector.{", "\"log.{"] {
            assert!(!code.contains(prefix), "{} spells a subject", path.display());
        }
    }
}

#[test]
fn files_begin_with_what_they_own() {
    for path in all_sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} has no header", path.display());
    }
}

/// Every Rust file of a package.
fn files_of(directory: &Path, found: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files_of(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// `scripts/try-cases` runs them: a test that was renamed must not be left out.
#[test]
fn the_tests_of_cases_are_there() {
    let mut texts = BTreeMap::new();
    let mut cases = 0;
    for table in std::fs::read_dir(root().join("cluster/tests/cases")).unwrap().map(|entry| entry.unwrap().path()) {
        for row in std::fs::read_to_string(&table).unwrap().lines() {
            let [id, package, _, test, text] = row.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{}: {row:?} has not five columns", table.display());
            };
            assert!(!text.is_empty(), "{id}: has no text");
            let code = texts.entry(package.to_owned()).or_insert_with(|| {
                let mut files = Vec::new();
                files_of(&root().join(package), &mut files);
                files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect::<String>()
            });
            let name = test.rsplit("::").next().unwrap();
            // Some are made by macros, from their names.
            assert!(code.contains(name), "{id}: {package} has no test {test}");
            cases += 1;
        }
    }
    assert!(cases > 100);
}
