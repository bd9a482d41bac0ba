//! Settings given as text: environment variables, and values of the command line. A setting's
//! default decides how its text is parsed; a text setting takes any text.

use std::ffi::OsString;

use figment::Figment;
use figment::providers::Serialized;
use figment::util::nest;
use figment::value::{Dict, Value};

use super::edits;

/// Begins the names of our environment variables.
const PREFIX: &str = "SHADDOCK_";

/// Separates section and setting in them.
const SEPARATOR: &str = "__";

/// Names below [`PREFIX`] that are no settings: the command line's, and the filter of the log.
const NOT_SETTINGS: [&str; 4] = ["env", "config", "nats", "log"];

/// Returns the settings among the environment variables, `section.name`.
///
/// A variable is a setting if it has a known section and two underscores, or the name of a setting
/// without section. Near misses are kept, to be refused; all other variables are ignored.
pub(super) fn settings(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    defaults: &Dict,
    keys: &[String],
) -> Dict {
    // Orchestrators define variables for each service, and those of a service called `shaddock`
    // begin like ours (`SHADDOCK_PORT`, `SHADDOCK_SERVICE_HOST`), so unknown names cannot be
    // errors.
    let ours = variables.into_iter().filter_map(|(name, text)| {
        let name = name.to_str()?;
        let begins = name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
        let name = name.get(PREFIX.len()..).filter(|_| begins)?.to_ascii_lowercase();
        let key = name.replace(SEPARATOR, ".");
        let is_ours = !NOT_SETTINGS.contains(&name.as_str()) && is_ours(&key, defaults, keys);
        is_ours.then(|| (key, text.to_string_lossy().into_owned()))
    });
    let ours: Vec<(String, String)> = ours.collect();
    nested(ours.iter().map(|(key, text)| (key.as_str(), text.as_str())), defaults)
}

fn is_ours(key: &str, defaults: &Dict, keys: &[String]) -> bool {
    let Some((section, _)) = key.split_once('.') else {
        // One underscore instead of two: `room_max_members`.
        let is_slip = || keys.iter().any(|known| known.replace('.', "_") == key);
        return defaults.get(key).is_some_and(|value| !matches!(value, Value::Dict(..))) || is_slip();
    };
    let sections = defaults.iter().filter(|(_, value)| matches!(value, Value::Dict(..))).map(|(name, _)| name);
    // A letter or two may be wrong in a name that is long enough to be meant.
    sections.into_iter().any(|known| edits(section, known) <= if known.len() > 4 { 2 } else { 1 })
}

/// Returns these settings as sections, each value read as its default wants it.
pub(super) fn nested<'a>(settings: impl Iterator<Item = (&'a str, &'a str)>, defaults: &Dict) -> Dict {
    let defaults = Value::from(defaults.clone());
    let mut figment = Figment::new();
    for (key, text) in settings {
        figment = figment.merge(Serialized::defaults(nest(key, read(text, defaults.find_ref(key)))));
    }
    figment.extract().unwrap_or_default()
}

fn read(text: &str, default: Option<&Value>) -> Value {
    match default {
        // Not parsed: a text of digits would become a number.
        Some(Value::String(..)) => Value::from(text),
        Some(Value::Array(..)) => list(text).unwrap_or_else(|| Value::from(text)),
        _ => {
            let Ok(value) = text.parse();
            value
        }
    }
}

/// Reads `[a, "b, c"]`: texts, quoted where they have commas or spaces at an end.
fn list(text: &str) -> Option<Value> {
    let inside = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let mut items = vec![String::new()];
    let mut quote = None;
    for c in inside.chars() {
        match quote {
            None if c == ',' => items.push(String::new()),
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        if let Some(last) = items.last_mut().filter(|_| c != ',' || quote.is_some()) {
            last.push(c);
        }
    }
    let items: Vec<Value> =
        items.iter().map(|item| item.trim()).filter(|item| !item.is_empty()).map(unquoted).collect();
    Some(items.into())
}

fn unquoted(item: &str) -> Value {
    let json = || serde_json::from_str::<String>(item).ok();
    let single = || item.strip_prefix('\'')?.strip_suffix('\'').map(str::to_owned);
    Value::from(json().or_else(single).unwrap_or_else(|| item.to_owned()))
}

#[cfg(test)]
mod tests;
