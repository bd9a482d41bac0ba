//! Authentication at NATS: the files that the settings name, read and checked. Refuses two ways at
//! once, shows no secret.

use std::path::{Path, PathBuf};

use model::settings::{NatsSettings, Secret};
use thiserror::Error;

use super::limits::OutOfRange;
use crate::text_file;

/// The identity of this process at the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The text of a credentials file: a JWT, and the seed that proves that it is ours.
    Credentials(Secret),
    /// A user's name and password.
    Password(String, Secret),
    /// A token.
    Token(Secret),
    /// The seed of a user's NKey.
    Nkey(Secret),
}

/// Files for TLS, and the requirement of TLS. The broker may require it in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of authorities, instead of the system's.
    pub authorities: Option<PathBuf>,
    /// Our certificate, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Refuse connections without TLS.
    pub is_required: bool,
    /// From the first byte.
    pub is_first: bool,
}

/// The authentication that the settings describe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignIn {
    /// None: the broker's default user.
    pub identity: Option<Identity>,
    /// The protection of the connection.
    pub tls: Tls,
}

/// An error of authentication. The operator's matter; shows nothing of a file's content.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignInError {
    /// Settings do not go together.
    #[error("{setting} is {found}, which must be {required}: keep one way to sign in, whole")]
    Contradiction {
        /// The setting.
        setting: &'static str,
        /// Its value: a file's or a user's name.
        found: String,
        /// The value that would be consistent.
        required: String,
    },
    /// The list of servers has a password or token in it, and the settings have another way.
    #[error("a URL in the list of NATS servers signs in, and so does {setting}: keep one of them")]
    Twice {
        /// The setting.
        setting: &'static str,
    },
    /// A file cannot be read.
    #[error("{setting} names {path}, which cannot be read ({reason}): put it there, or correct the setting")]
    Unreadable {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: String,
        /// The system's reason.
        reason: String,
    },
    /// A file does not hold what it should.
    #[error("{setting} names {path}, which does not hold {wanted}: put it there, or correct the setting")]
    Unfit {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: String,
        /// The content that it should have.
        wanted: &'static str,
    },
}

/// Begins a certificate in PEM.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
/// Ends the first line of every kind of key in PEM.
const KEY: &str = "PRIVATE KEY-----";

/// Characters of the text of an NKey's seed.
const SEED: usize = 58;
/// Begins the seed of a user's NKey.
const USER_SEED: &str = "SU";

/// A setting's name and its value.
type Setting<'a> = (&'static str, &'a str);

impl SignInError {
    /// The error for a file of `nats.credentials_file` without usable credentials.
    pub fn unfit_credentials(path: &str) -> Self {
        let wanted = "the JWT and the seed of a user, as nsc writes them";
        Self::Unfit { setting: "nats.credentials_file", path: path.to_owned(), wanted }
    }

    /// The error for a file of `nats.nkey_file` without a seed.
    pub fn unfit_seed(path: &str) -> Self {
        let wanted = "the seed of a user's NKey (SU...), as `nk -gen user` writes it";
        Self::Unfit { setting: "nats.nkey_file", path: path.to_owned(), wanted }
    }
}

impl SignIn {
    /// Reads the files that the settings name; paths are relative to the working directory.
    ///
    /// # Errors
    /// If settings contradict each other, or a file is not there, or is not what it should be.
    pub fn read(settings: &NatsSettings) -> Result<Self, SignInError> {
        if let Some(OutOfRange { key, found, required, .. }) = contradictions(settings).into_iter().next() {
            return Err(SignInError::Contradiction { setting: key, found, required });
        }
        Ok(Self { identity: identity(settings)?, tls: tls(settings)? })
    }
}

/// Settings of which only one may be given, and those that are nothing without another.
pub(super) fn contradictions(settings: &NatsSettings) -> Vec<OutOfRange> {
    let mut ways = ways(settings).into_iter().filter(|(_, value)| !value.is_empty());
    let first = ways.next().map_or("", |(key, _)| key);
    let more = ways.map(|way| broken(way, first, format!("empty, because {first} signs in")));
    let halves = pairs(settings).into_iter().filter(|(left, right)| left.1.is_empty() != right.1.is_empty());
    let halves = halves.map(|(left, right)| {
        let (given, empty) = if left.1.is_empty() { (right, left) } else { (left, right) };
        broken(empty, given.0, format!("given, because {} is", given.0))
    });
    more.chain(halves).collect()
}

fn broken((key, value): Setting<'_>, other: &'static str, required: String) -> OutOfRange {
    OutOfRange { key, other: Some(other), found: format!("{value:?}"), required }
}

fn ways(settings: &NatsSettings) -> [Setting<'_>; 4] {
    [
        ("nats.credentials_file", &settings.credentials_file),
        ("nats.nkey_file", &settings.nkey_file),
        ("nats.user", &settings.user),
        ("nats.token_file", &settings.token_file),
    ]
}

fn pairs(settings: &NatsSettings) -> [(Setting<'_>, Setting<'_>); 2] {
    [
        (("nats.user", &settings.user), ("nats.password_file", &settings.password_file)),
        (("nats.tls_cert_file", &settings.tls_cert_file), ("nats.tls_key_file", &settings.tls_key_file)),
    ]
}

fn identity(settings: &NatsSettings) -> Result<Option<Identity>, SignInError> {
    let text = |key, path| Ok(read((key, path))?.map(Secret::new));
    if let Some(text) = text("nats.credentials_file", &settings.credentials_file)? {
        return Ok(Some(Identity::Credentials(text)));
    }
    if let Some(text) = read(("nats.nkey_file", &settings.nkey_file))? {
        let seed = seed(&text).ok_or_else(|| SignInError::unfit_seed(&settings.nkey_file))?;
        return Ok(Some(Identity::Nkey(Secret::new(seed.to_owned()))));
    }
    if let Some(password) = text("nats.password_file", &settings.password_file)? {
        return Ok(Some(Identity::Password(settings.user.clone(), password)));
    }
    Ok(text("nats.token_file", &settings.token_file)?.map(Identity::Token))
}

/// Checks the files for TLS.
// The client library reads the files itself, at each connection.
fn tls(settings: &NatsSettings) -> Result<Tls, SignInError> {
    let authorities = pem(("nats.tls_ca_file", &settings.tls_ca_file), CERTIFICATE, "a certificate in PEM")?;
    let certificate = pem(("nats.tls_cert_file", &settings.tls_cert_file), CERTIFICATE, "a certificate in PEM")?;
    let key = pem(("nats.tls_key_file", &settings.tls_key_file), KEY, "a private key in PEM")?;
    let certificate = certificate.zip(key);
    let is_first = settings.tls_first;
    let is_required = settings.tls_required || is_first || authorities.is_some() || certificate.is_some();
    Ok(Tls { authorities, certificate, is_required, is_first })
}

/// The seed of a user in the text of a file, which may have lines around it, as in a credentials
/// file.
pub fn seed(text: &str) -> Option<&str> {
    let is_seed = |line: &&str| {
        let is_base32 = line.bytes().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'2'..=b'7'));
        line.len() == SEED && line.starts_with(USER_SEED) && is_base32
    };
    text.lines().map(str::trim).find(is_seed)
}

fn pem(setting: Setting<'_>, label: &str, wanted: &'static str) -> Result<Option<PathBuf>, SignInError> {
    match read(setting)? {
        None => Ok(None),
        Some(text) if text.contains(label) => Ok(Some(PathBuf::from(setting.1))),
        Some(_) => Err(SignInError::Unfit { setting: setting.0, path: setting.1.to_owned(), wanted }),
    }
}

/// The text of the file without white space around it; none if the setting names none.
fn read((setting, path): Setting<'_>) -> Result<Option<String>, SignInError> {
    if path.is_empty() {
        return Ok(None);
    }
    let text = text_file::read(Path::new(path)).map_err(|error| SignInError::Unreadable {
        setting,
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    // Editors end files with a line break, which is not part of a secret.
    match text.trim() {
        "" => Err(SignInError::Unfit { setting, path: path.to_owned(), wanted: "any text" }),
        text => Ok(Some(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Scratch;

    fn broken(change: impl FnOnce(&mut NatsSettings)) -> Vec<&'static str> {
        let mut settings = NatsSettings::default();
        change(&mut settings);
        contradictions(&settings).into_iter().map(|broken| broken.key).collect()
    }

    #[test]
    fn there_is_one_way_to_sign_in() {
        let given = || "x".to_owned();
        assert_eq!(broken(|_| {}), [""; 0]);
        assert_eq!(broken(|nats| (nats.credentials_file, nats.token_file) = (given(), given())), ["nats.token_file"]);
        assert_eq!(broken(|nats| nats.user = given()), ["nats.password_file"]);
        assert_eq!(broken(|nats| nats.password_file = given()), ["nats.user"]);
        assert_eq!(broken(|nats| nats.tls_cert_file = given()), ["nats.tls_key_file"]);
        let all = |nats: &mut NatsSettings| {
            (nats.credentials_file, nats.user, nats.password_file) = (given(), given(), given());
        };
        assert_eq!(broken(all), ["nats.user"]);
        let nkey = |nats: &mut NatsSettings| (nats.nkey_file, nats.token_file) = (given(), given());
        assert_eq!(broken(nkey), ["nats.token_file"]);
    }

    #[test]
    fn a_secret_is_a_files_text_and_is_not_shown() {
        let scratch = Scratch::new();
        let file = scratch.file("password", " s3cret words\n");
        let settings = NatsSettings { user: "ann".to_owned(), password_file: file, ..NatsSettings::default() };
        let read = SignIn::read(&settings).unwrap();
        assert_eq!(read.identity, Some(Identity::Password("ann".to_owned(), Secret::new("s3cret words".to_owned()))));
        assert!(!format!("{read:?}").contains("s3cret") && format!("{read:?}").contains("ann"), "{read:?}");
        assert!(!format!("{settings:?}").contains("s3cret"));
    }

    #[test]
    fn files_are_refused_by_name_and_setting() {
        let scratch = Scratch::new();
        let token = |token_file| SignIn::read(&NatsSettings { token_file, ..NatsSettings::default() }).unwrap_err();
        let missing = token("no/such/file".to_owned()).to_string();
        assert!(missing.contains("nats.token_file names no/such/file"), "{missing}");
        let empty = token(scratch.file("empty", " \n"));
        assert!(matches!(empty, SignInError::Unfit { setting: "nats.token_file", .. }), "{empty}");
        let tls_ca_file = scratch.file("ca.pem", "s3cret");
        let unfit = SignIn::read(&NatsSettings { tls_ca_file, ..NatsSettings::default() }).unwrap_err();
        assert!(matches!(unfit, SignInError::Unfit { setting: "nats.tls_ca_file", .. }), "{unfit}");
        assert!(!unfit.to_string().contains("s3cret"));
    }

    #[test]
    fn a_seed_is_found_among_other_lines() {
        let good = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";
        let decorated = format!("-----BEGIN USER NKEY SEED-----\n{good}\n------END USER NKEY SEED------\n");
        assert_eq!((seed(good), seed(&decorated)), (Some(good), Some(good)));
        // The key of an account, a public key, a part.
        for bad in [good.replacen("SU", "SA", 1), good.replacen("SU", "UU", 1), good[..57].to_owned(), String::new()] {
            assert_eq!(seed(&bad), None, "{bad}");
        }
    }

    #[test]
    fn servers_with_the_same_settings_sign_in_as_themselves() {
        let password_file = "/secrets/{id}".to_owned();
        let settings = NatsSettings { user: "{id}".to_owned(), password_file, ..NatsSettings::default() };
        let of_server = settings.for_server("chat-server-1");
        assert_eq!((&*of_server.user, &*of_server.password_file), ("chat-server-1", "/secrets/chat-server-1"));
        assert_eq!(NatsSettings::default().for_server("chat-server-1"), NatsSettings::default());
    }

    /// A setting that names an authority must not allow a connection without TLS.
    #[test]
    fn a_file_for_tls_requires_tls() {
        let scratch = Scratch::new();
        let tls_ca_file = scratch.file("ca.pem", "-----BEGIN CERTIFICATE-----");
        let read = SignIn::read(&NatsSettings { tls_ca_file, ..NatsSettings::default() }).unwrap();
        assert!(read.tls.is_required);
        let first = SignIn::read(&NatsSettings { tls_first: true, ..NatsSettings::default() }).unwrap().tls;
        assert!(first.is_required && first.is_first);
        assert!(!SignIn::read(&NatsSettings::default()).unwrap().tls.is_required);
    }
}
