//! The order of the house: the dependencies of each crate, and one place for each subject.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// The crates of the workspace, and the others that each may use outside of its tests.
const ALLOWED: [(&str, &[&str]); 23] = [
    ("wire", &[]),
    ("model", &["wire"]),
    ("auth", &["model"]),
    ("runtime", &["model", "wire"]),
    ("bus", &["model", "runtime"]),
    ("node", &["auth", "bus", "model", "runtime"]),
    ("frontend", &["model", "node", "runtime", "wire"]),
    ("witness", &[]),
    ("testkit", &["model", "runtime", "witness"]),
    ("api", &["bus", "frontend", "model", "node", "proposer", "runtime", "wire"]),
    ("gate", &["bus", "frontend", "model", "node", "runtime", "wire"]),
    ("connector", &["bus", "follower", "frontend", "model", "node", "runtime", "wire"]),
    ("follower", &["model", "wire"]),
    ("owner", &["model", "wire"]),
    ("proposer", &["model"]),
    ("chat", &["bus", "model", "node", "owner", "runtime", "wire"]),
    ("client", &["wire"]),
    ("load", &["client", "wire", "witness"]),
    ("bench", &[]),
    ("system-tests", &[]),
    ("cluster", &["api", "bus", "chat", "connector", "frontend", "gate", "model", "node", "runtime", "wire"]),
    ("fuzz-checks", &["bus", "model", "node", "runtime", "wire"]),
    ("bot", &["client"]),
];

/// The folders of the crates that are not called after their package.
const FOLDERS: [(&str, &str); 14] = [
    ("model", "shared/model"),
    ("auth", "shared/auth"),
    ("runtime", "shared/runtime"),
    ("bus", "shared/bus"),
    ("node", "shared/node"),
    ("frontend", "shared/frontend"),
    ("witness", "shared/witness"),
    ("testkit", "shared/testkit"),
    ("system-tests", "tests"),
    ("follower", "connector/follower"),
    ("owner", "chat/owner"),
    ("proposer", "api/proposer"),
    ("fuzz-checks", "fuzz/checks"),
    ("bot", "examples/bot-rust"),
];

/// The crates without a runtime, I/O, clock or randomness.
const PURE: [&str; 6] = ["wire", "model", "follower", "owner", "proposer", "witness"];

/// The external crates below those, procedural macros aside. `libc` comes with `cpufeatures`, which
/// asks the processor for its instructions on some platforms; the `icu` crates have Unicode tables,
/// and `litemap` to `zerovec` are their containers. `unicode-security` has the table of characters
/// that look alike, which `icu` lacks, and brings a normalizer and the scripts for it.
const PURE_USES: [&str; 54] = [
    "base64",
    "block-buffer",
    "bytes",
    "cfg-if",
    "cmov",
    "ctutils",
    "const-oid",
    "cpufeatures",
    "crc32fast",
    "crypto-common",
    "digest",
    "hybrid-array",
    "icu_casemap",
    "icu_casemap_data",
    "icu_collections",
    "icu_locale_core",
    "icu_normalizer",
    "icu_normalizer_data",
    "icu_properties",
    "icu_properties_data",
    "icu_provider",
    "ipnet",
    "itoa",
    "libc",
    "litemap",
    "md-5",
    "memchr",
    "num-traits",
    "percent-encoding",
    "potential_utf",
    "rmp",
    "rmp-serde",
    "serde",
    "serde_bytes",
    "serde_core",
    "serde_json",
    "sha2",
    "smallvec",
    "stable_deref_trait",
    "thiserror",
    "tinystr",
    "tinyvec",
    "typenum",
    "unicode-normalization",
    "unicode-script",
    "unicode-security",
    "utf8_iter",
    "utf_types",
    "writeable",
    "yoke",
    "zerofrom",
    "zerotrie",
    "zerovec",
    "zmij",
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
        // Servers are measured from outside: no crate, nor its tests, needs what measures them.
        let measures =
            package.dependencies.iter().any(|d| d.path.is_some() && ["load", "bench"].contains(&d.name.as_str()));
        assert!(!measures || package.name.as_str() == "bench", "{} must not use load or bench", package.name);
        let ours = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal && d.path.is_some());
        for dependency in ours {
            assert!(uses.contains(dependency.name.as_str()), "{} must not use {}", package.name, dependency.name);
        }
    }
}

/// A crate that could start a task, read a file or draw a random number would not be pure, whatever
/// its code does today.
#[test]
fn pure_crates_have_no_runtime() {
    let offline = ["--offline", "--locked"].map(str::to_owned).to_vec();
    let metadata = MetadataCommand::new().current_dir(root()).other_options(offline).exec().unwrap();
    let nodes: BTreeMap<_, _> = metadata.resolve.as_ref().unwrap().nodes.iter().map(|node| (&node.id, node)).collect();
    let packages: BTreeMap<_, _> = metadata.packages.iter().map(|package| (&package.id, package)).collect();
    let mut waiting: Vec<_> =
        metadata.packages.iter().filter(|p| PURE.contains(&p.name.as_str())).map(|p| &p.id).collect();
    assert_eq!(waiting.len(), PURE.len(), "a pure crate was not found");
    let mut found = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        let package = packages[id];
        let is_macro = package.targets.iter().any(|target| target.is_proc_macro());
        if is_macro || !found.insert(package.name.as_str()) {
            continue;
        }
        let used = nodes[id].deps.iter().filter(|d| d.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
        waiting.extend(used.map(|dependency| &dependency.pkg));
    }
    let allowed: BTreeSet<&str> = PURE.into_iter().chain(PURE_USES).collect();
    let unknown: Vec<_> = found.difference(&allowed).collect();
    assert!(unknown.is_empty(), "the pure crates {PURE:?} depend on {unknown:?}");
}

/// Its dependencies do not keep `auth` pure, as `ring` has a source of randomness: its code does.
#[test]
fn tokens_are_verified_without_a_clock() {
    let mut files = Vec::new();
    sources(&root().join("shared/auth/src"), &mut files);
    assert!(files.len() > 5, "the sources were not found");
    for path in files {
        let code = std::fs::read_to_string(&path).unwrap();
        for word in ["std::time", "std::fs", "std::net", "std::env", "ring::rand", "get_current_timestamp"] {
            assert!(!code.contains(word), "{} uses {word}", path.display());
        }
    }
}

fn folder(package: &str) -> &str {
    FOLDERS.iter().find(|(name, _)| *name == package).map_or(package, |(_, folder)| folder)
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
    for (name, _) in ALLOWED.iter().filter(|(name, _)| !["bench", "system-tests"].contains(name)) {
        sources(&root().join(folder(name)).join("src"), &mut found);
    }
    sources(&root().join("bench/benches"), &mut found);
    assert!(found.len() > 50, "the sources were not found");
    found
}

#[test]
fn subjects_are_spelled_in_one_place() {
    for path in all_sources() {
        if path.ends_with("shared/model/src/subjects.rs") {
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

/// The texts in which a test may be: those of its module's file and of the modules above, since
/// the last ones may be inline.
fn texts_around(package: &str, target: &str, test: &str) -> String {
    let directory = match target {
        "lib" | "bin" => root().join(folder(package)).join("src"),
        _ if package == "system-tests" => root().join("tests").join(target),
        _ => root().join(folder(package)).join("tests").join(target),
    };
    let modules: Vec<&str> = test.split("::").collect();
    let below = (1..modules.len()).map(|count| directory.join(modules[..count].join("/")).with_extension("rs"));
    let roots = [directory.join("lib.rs"), directory.join("main.rs"), directory.with_extension("rs")];
    below.chain(roots).filter_map(|file| std::fs::read_to_string(file).ok()).collect()
}

/// `scripts/try-cases` runs them: a test that was renamed or moved must not be left out.
#[test]
fn the_tests_of_cases_are_there() {
    let mut cases = 0;
    for table in std::fs::read_dir(root().join("tests/cases")).unwrap().map(|entry| entry.unwrap().path()) {
        for row in std::fs::read_to_string(&table).unwrap().lines() {
            let [id, package, target, test, text] = row.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{}: {row:?} has not five columns", table.display());
            };
            assert!(!text.is_empty(), "{id}: has no text");
            let name = test.rsplit("::").next().unwrap();
            // Some are made by macros, from their names.
            assert!(texts_around(package, target, test).contains(name), "{id}: {package} has no test {test}");
            cases += 1;
        }
    }
    assert!(cases > 100);
}

/// A patch whose place has changed would only be found by `make defects` and `make attacks`, which
/// take hours.
#[test]
fn patches_have_a_place_in_the_tree() {
    for script in ["scripts/defects", "scripts/attacks"] {
        let output = Command::new(script).arg("--check").current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
