//! Configuration: loaded once, checked, passed down. Nothing else reads files or environment
//! variables.

pub mod error;
mod layers;
mod limits;
mod namespaces;
pub mod origin;
mod servers_file;
pub mod sign_in;

use std::path::Path;

pub use error::{ConfigError, Fault, Problem};
pub use layers::{Overrides, load_settings};
pub use model::servers::{Server, Servers};
pub use model::settings::Settings;
pub use servers_file::{ServersText, load_servers};

/// The configuration of a process.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Name of the environment: a key of `servers.json`, or the directory that holds it.
    pub environment: String,
    /// The servers of the environment.
    pub servers: Servers,
    /// All settings.
    pub settings: Settings,
}

impl Config {
    /// Reads `servers.json` and `settings.toml` below `dir`, the environment variables, and what
    /// the command line overrides.
    ///
    /// Without a `settings.toml` the defaults hold. Entries that are wrong are reported together,
    /// of both files.
    pub fn load(dir: &Path, environment: &str, overrides: &Overrides) -> Result<Self, ConfigError> {
        // Both files are read even if one has errors, so that an operator sees all of them at once.
        let (servers, settings) = both(load_servers(dir, environment), load_settings(dir, overrides))?;
        Ok(Self { environment: environment.to_owned(), servers, settings })
    }
}

fn both<A, B>(left: Result<A, ConfigError>, right: Result<B, ConfigError>) -> Result<(A, B), ConfigError> {
    match (left, right) {
        (Ok(left), Ok(right)) => Ok((left, right)),
        (Err(ConfigError::Invalid(mut problems)), Err(ConfigError::Invalid(more))) => {
            problems.extend(more);
            Err(ConfigError::Invalid(problems))
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_of_both_files_come_together() {
        let problem = |source: &str| {
            let problem = Problem { source: source.to_owned(), entry: "x".to_owned(), fault: Fault::NoServers };
            ConfigError::Invalid(vec![problem])
        };
        let Err(ConfigError::Invalid(problems)) = both::<(), ()>(Err(problem("a")), Err(problem("b"))) else {
            panic!("not invalid");
        };
        assert_eq!(problems.iter().map(|problem| problem.source.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(both::<(), ()>(Ok(()), Err(problem("b"))).is_err());
    }

    #[test]
    fn the_files_in_the_repository_are_usable() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
        let config = Config::load(&dir, "production", &Overrides::default()).unwrap();
        assert_eq!(config.servers.chat().len(), 3);
    }
}
