//! The file of an environment and its lists: `servers.json` with or without environments, or one
//! below a directory for each environment, in the places where Pomelo reads them.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::super::error::ConfigError;
use super::NEEDED;
use crate::text_file::{self, TextError};

/// Name of the file.
const NAME: &str = "servers.json";

/// The text of the file of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServersText {
    pub(super) path: PathBuf,
    text: String,
}

/// The servers' lists of an environment, by their type.
#[derive(Debug)]
pub(super) struct Lists {
    /// Begins the names of entries: `production.`, or nothing in a file without environments.
    pub(super) prefix: String,
    pub(super) by_type: Map<String, Value>,
}

impl ServersText {
    /// Reads `DIR/servers.json` or, where that does not exist, `DIR/ENV/servers.json`.
    ///
    /// # Errors
    /// If there is neither, or if the one that there is cannot be read.
    pub fn read(dir: &Path, environment: &str) -> Result<Self, ConfigError> {
        let path = dir.join(NAME);
        match text_file::read(&path) {
            Ok(text) => Ok(Self { path, text }),
            Err(TextError::Missing) => {
                let below = dir.join(environment).join(NAME);
                match text_file::read(&below) {
                    Ok(text) => Ok(Self { path: below, text }),
                    Err(TextError::Missing) => Err(ConfigError::NoServersFile { path, below }),
                    Err(cause) => Err(ConfigError::Read { path: below, cause }),
                }
            }
            Err(cause) => Err(ConfigError::Read { path, cause }),
        }
    }

    #[cfg(test)]
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: PathBuf::from(path), text: text.to_owned() }
    }

    /// The lists of an environment: those below its name, or else all of a file without
    /// environments.
    pub(super) fn lists(&self, environment: &str) -> Result<Lists, ConfigError> {
        let file: Value = serde_json::from_str(&self.text).map_err(|error| ConfigError::syntax(&self.path, error))?;
        let Value::Object(mut file) = file else {
            return Err(ConfigError::syntax(&self.path, "it is not an object of environments"));
        };
        match file.remove(environment) {
            Some(Value::Object(by_type)) => return Ok(Lists { prefix: format!("{environment}."), by_type }),
            // A list of a type that is called like the environment.
            Some(list) => drop(file.insert(environment.to_owned(), list)),
            None => {}
        }
        // The keys of a file without environments are types. One of ours shows that form.
        if NEEDED.iter().any(|needed| file.get(*needed).is_some_and(Value::is_array)) {
            return Ok(Lists { prefix: String::new(), by_type: file });
        }
        if file.contains_key(environment) {
            return Err(ConfigError::syntax(&self.path, format!("{environment:?} is not an object of lists")));
        }
        let known = file.into_iter().filter(|(_, value)| value.is_object()).map(|(name, _)| name).collect();
        Err(ConfigError::Environment { path: self.path.clone(), environment: environment.to_owned(), known })
    }
}
