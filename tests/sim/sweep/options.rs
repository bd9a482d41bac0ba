//! The sweep that the environment asks for, as `make simulate` and `make chaos` set it.

use std::str::FromStr;

use runtime::clock;

use super::Sweep;
use crate::scenario::Scenario;
use crate::trace::RunTrace;

impl Sweep {
    /// Reads `SHADDOCK_SIM_SEEDS`, `SHADDOCK_SIM_FROM`, `SHADDOCK_SIM_MINUTES`,
    /// `SHADDOCK_SIM_SCENARIO`, `SHADDOCK_SIM_FIRST` and `SHADDOCK_SIM_TRACE`. Without them it is
    /// one random seed of every scenario, and with minutes as many as they allow. The error names
    /// the value that is refused.
    pub(crate) fn from_environment() -> Result<Self, String> {
        let minutes: Option<u64> = number("MINUTES")?;
        let from = number("FROM")?.unwrap_or_else(|| rand::random_range(1 << 32..1 << 48));
        let count: u64 = number("SEEDS")?.unwrap_or(if minutes.is_some() { u64::MAX - from } else { 1 });
        let to = from.checked_add(count).filter(|_| count > 0).ok_or("SEEDS is 0, or reaches beyond the last seed")?;
        Ok(Self {
            scenarios: scenarios(variable("SCENARIO").as_deref())?,
            seeds: from..to,
            until: minutes.map(|minutes| clock::now_ms() + minutes * 60_000),
            ends_at_first: is_set("FIRST")?,
            trace: if is_set("TRACE")? { RunTrace::On } else { RunTrace::Off },
        })
    }
}

/// The scenarios of a list with commas; all of them without one.
fn scenarios(list: Option<&str>) -> Result<Vec<Scenario>, String> {
    let Some(list) = list else { return Ok(Scenario::ALL.to_vec()) };
    let names = || Scenario::ALL.map(|scenario| format!("{scenario:?}")).join(", ");
    let found = |name: &str| Scenario::ALL.into_iter().find(|scenario| format!("{scenario:?}") == name);
    list.split(',')
        .map(str::trim)
        .map(|name| found(name).ok_or_else(|| format!("there is no scenario {name:?}, only {}", names())))
        .collect()
}

/// Returns true if a variable is a number above 0.
fn is_set(name: &str) -> Result<bool, String> {
    Ok(number::<u8>(name)?.is_some_and(|number| number > 0))
}

fn number<N: FromStr>(name: &str) -> Result<Option<N>, String> {
    let Some(text) = variable(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| format!("{name}={text} is not a number that can be used"))
}

/// A variable of the environment. An empty one is none: the Makefile passes on all of its own.
fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "a knob of this test, not a setting of the program")]
    let value = std::env::var(format!("SHADDOCK_SIM_{name}"));
    value.ok().filter(|value| !value.is_empty())
}

#[test]
fn a_scenario_that_does_not_exist_is_refused() {
    assert_eq!(scenarios(Some("Calm, LostLog")), Ok(vec![Scenario::Calm, Scenario::LostLog]));
    let refusal = scenarios(Some("Calm,Clam")).unwrap_err();
    assert!(refusal.starts_with("there is no scenario \"Clam\", only Calm, BadBus, "), "{refusal}");
}
