//! The division of the log into streams, as the first stream's subjects show it. Pure.

use model::log_parts::{LogPart, LogParts};
use model::subjects::{self, SubjectPrefix};

use super::open_error::OpenError;

/// Returns the division of a log whose first stream has these subjects; the wanted one if they are
/// of no division.
///
/// # Errors
/// If there are fewer streams than wanted, or the subjects have no slots.
// The first stream is created first and keeps its name in every division, so its subjects decide
// how many there are, also between servers that start at the same moment.
pub(super) fn division(
    stream: &str,
    subjects: &[String],
    prefix: &SubjectPrefix,
    wanted: LogParts,
) -> Result<LogParts, OpenError> {
    if subjects.iter().any(|subject| *subject == prefix.apply(subjects::LOGS_WITHOUT_SLOTS)) {
        return Err(OpenError::WithoutSlots { stream: stream.to_owned() });
    }
    let found = LogParts::all().find(|parts| is_same(&patterns(*parts, prefix), subjects));
    match found {
        Some(found) if found.count() < wanted.count() => {
            Err(OpenError::FewerStreams { stream: stream.to_owned(), found: found.count(), wanted: wanted.count() })
        }
        // More streams are those of a log that was divided later.
        Some(found) => Ok(found),
        // The comparison of all settings names the difference.
        None => Ok(wanted),
    }
}

/// Returns the subjects of the first of so many streams, as JetStream knows them.
fn patterns(parts: LogParts, prefix: &SubjectPrefix) -> Vec<String> {
    let first = subjects::log_patterns(parts, LogPart::default());
    first.iter().map(|pattern| prefix.apply(pattern).into_owned()).collect()
}

fn is_same(one: &[String], other: &[String]) -> bool {
    one.len() == other.len() && one.iter().all(|pattern| other.contains(pattern))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(count: usize) -> LogParts {
        LogParts::new(count).unwrap()
    }

    #[test]
    fn the_subjects_of_the_first_stream_show_the_division() {
        let prefix = SubjectPrefix::new("staging");
        for found in LogParts::all() {
            let mut subjects = patterns(found, &prefix);
            subjects.reverse();
            let division = |wanted| division("STAGING_ROOMS", &subjects, &prefix, wanted);
            for wanted in LogParts::all() {
                let fewer = OpenError::FewerStreams {
                    stream: "STAGING_ROOMS".to_owned(),
                    found: found.count(),
                    wanted: wanted.count(),
                };
                let expected = if found.count() < wanted.count() { Err(fewer) } else { Ok(found) };
                assert_eq!(division(wanted), expected);
            }
        }
    }

    #[test]
    fn subjects_without_slots_are_refused_and_others_compared() {
        let of =
            |subject: &str, prefix| division("ROOMS", &[subject.to_owned()], &SubjectPrefix::new(prefix), parts(2));
        let refused = Err(OpenError::WithoutSlots { stream: "ROOMS".to_owned() });
        assert_eq!((of("log.*", ""), of("staging.log.*", "staging")), (refused.clone(), refused));
        for other in ["log.>", "other", "Staging.log.*", "log.0.>"] {
            assert_eq!(of(other, "staging"), Ok(parts(2)), "{other}");
        }
    }
}
