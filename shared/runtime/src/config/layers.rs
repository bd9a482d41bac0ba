//! The settings' layers: defaults < `settings.toml` < environment variables < command line. Unknown
//! names are refused.

mod environment;

use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Error, Figment, Profile, Provider};
use model::settings::Settings;

use super::error::{ConfigError, Fault, Problem};
use super::limits;
use crate::text_file::{self, TextError};

/// Settings whose values are shown by no message.
const SECRETS: [&str; 1] = ["admin.token"];

/// Settings given on the command line, above all other layers.
#[derive(Debug, Clone, Default)]
pub struct Overrides(Vec<(String, String)>);

impl Overrides {
    /// Sets `key`, for example `room.max_members`; the value is written as in an environment
    /// variable.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.0.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// Reads the layers, `DIR/settings.toml` among them if it exists, and checks the outcome.
pub fn load_settings(dir: &Path, overrides: &Overrides) -> Result<Settings, ConfigError> {
    let path = dir.join("settings.toml");
    let text = match text_file::read(&path) {
        // The file is optional: without it the defaults hold.
        Err(TextError::Missing) => String::new(),
        text => text.map_err(|cause| ConfigError::Read { path: path.clone(), cause })?,
    };
    let defaults = defaults();
    let variables = environment::settings(std::env::vars_os(), &defaults, &keys(&defaults, ""));
    let layers = vec![
        Layer { values: dict(&path, &Toml::string(&text))?, source: Source::File(path) },
        Layer { values: variables, source: Source::Environment },
        Layer { values: overridden(overrides, &defaults), source: Source::CommandLine },
    ];
    merge(layers)
}

/// The source of values.
#[derive(Debug)]
enum Source {
    File(PathBuf),
    Environment,
    CommandLine,
}

/// The values of one source.
#[derive(Debug)]
struct Layer {
    source: Source,
    values: Dict,
}

impl Layer {
    fn has(&self, key: &str) -> bool {
        Value::from(self.values.clone()).find(key).is_some()
    }

    fn problem(&self, key: &str, fault: Fault) -> Problem {
        let (source, entry) = match &self.source {
            Source::File(path) => (path.display().to_string(), key.to_owned()),
            Source::Environment => {
                ("environment".to_owned(), format!("SHADDOCK_{}", key.replace('.', "__").to_ascii_uppercase()))
            }
            Source::CommandLine => ("command line".to_owned(), key.to_owned()),
        };
        Problem { source, entry, fault }
    }
}

fn dict(path: &Path, provider: &impl Provider) -> Result<Dict, ConfigError> {
    let mut profiles = provider.data().map_err(|error| ConfigError::syntax(path, without_lines(&error.kind)))?;
    Ok(profiles.remove(&Profile::Default).unwrap_or_default())
}

/// The parser's message without the lines of the file, which may hold a secret.
fn without_lines(error: &Kind) -> String {
    let message = error.to_string();
    let is_quoted = |line: &str| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|');
    message.lines().filter(|line| !is_quoted(line)).collect::<Vec<_>>().join(": ")
}

fn defaults() -> Dict {
    Value::serialize(Settings::default()).ok().and_then(Value::into_dict).unwrap_or_default()
}

fn overridden(overrides: &Overrides, defaults: &Dict) -> Dict {
    environment::nested(overrides.0.iter().map(|(key, text)| (key.as_str(), text.as_str())), defaults)
}

fn merge(mut layers: Vec<Layer>) -> Result<Settings, ConfigError> {
    let defaults = defaults();
    let names: Vec<String> = keys(&defaults, "").into_iter().chain(defaults.keys().cloned()).collect();
    let mut problems = Vec::new();
    let mut figment = Figment::from(Serialized::defaults(Settings::default()));
    for layer in &mut layers {
        // Unknown names are removed and noted, so that the types and ranges of the known ones are
        // checked in the same run.
        for key in take_unknown(&mut layer.values, &defaults, "") {
            let nearest = nearest(&key, &names);
            problems.push(layer.problem(&key, Fault::Unknown { nearest }));
        }
        figment = figment.merge(Serialized::defaults(&layer.values));
    }
    let settings = match figment.extract::<Settings>() {
        Ok(settings) => settings,
        Err(error) => {
            problems.extend(error.into_iter().map(|error| type_problem(&layers, &error)));
            return Err(ConfigError::Invalid(problems));
        }
    };
    let broken = limits::check(&settings);
    problems.extend(broken.into_iter().map(|broken| {
        let fault = Fault::Range { found: broken.found, required: broken.required };
        blame(&layers, broken.key, broken.other).problem(broken.key, fault)
    }));
    if problems.is_empty() { Ok(settings) } else { Err(ConfigError::Invalid(problems)) }
}

fn type_problem(layers: &[Layer], error: &Error) -> Problem {
    let key = error.path.join(".");
    // The library's text of such an error quotes the value.
    let is_secret = SECRETS.iter().any(|secret| *secret == key || secret.starts_with(&format!("{key}.")));
    let fault = match &error.kind {
        Kind::InvalidType(_, wanted) | Kind::InvalidValue(_, wanted) if is_secret => format!("is not {wanted}"),
        _ if is_secret => "is of another type".to_owned(),
        kind => kind.to_string(),
    };
    blame(layers, &key, None).problem(&key, Fault::Type(fault))
}

/// The layer that decided `key`, or else `other`, with which it does not go together.
fn blame<'a>(layers: &'a [Layer], key: &str, other: Option<&str>) -> &'a Layer {
    let decided = |key: &str| layers.iter().rev().find(|layer| layer.has(key));
    // The defaults are in range, so a layer has decided one of the two.
    decided(key).or_else(|| other.and_then(decided)).unwrap_or(&layers[0])
}

/// Removes what is not a setting, and returns its keys.
fn take_unknown(values: &mut Dict, known: &Dict, prefix: &str) -> Vec<String> {
    let mut unknown = Vec::new();
    values.retain(|name, value| {
        let key = format!("{prefix}{name}");
        match (value, known.get(name)) {
            // Names that the operator chooses: what is below them is checked by its type.
            (Value::Dict(..), Some(Value::Dict(_, known))) if known.is_empty() => {}
            (Value::Dict(_, values), Some(Value::Dict(_, known))) => {
                unknown.extend(take_unknown(values, known, &format!("{key}.")));
            }
            (_, Some(_)) => {}
            (Value::Dict(_, values), None) if !values.is_empty() => unknown.extend(keys(values, &format!("{key}."))),
            (_, None) => unknown.push(key),
        }
        known.contains_key(name)
    });
    unknown
}

/// Every setting's key, as `section.name`.
fn keys(values: &Dict, prefix: &str) -> Vec<String> {
    let nested = |(name, value): (&String, &Value)| match value {
        Value::Dict(_, values) => keys(values, &format!("{prefix}{name}.")),
        _ => vec![format!("{prefix}{name}")],
    };
    values.iter().flat_map(nested).collect()
}

/// The name most like `wanted`; a setting of that name in another section comes first.
fn nearest(wanted: &str, names: &[String]) -> String {
    let name = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |key: &&String| (name(key) != name(wanted), edits(wanted, key));
    names.iter().min_by_key(distance).cloned().unwrap_or_default()
}

/// Number of characters to add, remove or change between two texts (Levenshtein).
fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in right.chars().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
