//! The division of the log into streams, as the first stream's subjects show it, and the split that a
//! stream is in. Pure.

use model::log_parts::{LogPart, LogParts};
use model::subjects::{self, SubjectPrefix};

use super::super::Split;
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

/// Returns the split that the stream of a part is in, by its subjects and the number of streams that
/// an announcement names.
pub(super) fn split(
    (parts, part): (LogParts, LogPart),
    subjects: &[String],
    announced: Option<usize>,
    prefix: &SubjectPrefix,
) -> Split {
    let more = || LogParts::all().filter(|other| other.count() > parts.count());
    let has_first = |other: &LogParts| has_subjects(subjects, (*other, parts.in_division(part, *other)), prefix);
    match (more().find(has_first), more().find(|other| Some(other.count()) == announced)) {
        (Some(begun), _) => Split::Begun(begun),
        (None, Some(announced)) => Split::Announced(announced),
        (None, None) => Split::None,
    }
}

/// Returns true if these are the subjects of a part, as JetStream knows them.
pub(super) fn has_subjects(subjects: &[String], part: (LogParts, LogPart), prefix: &SubjectPrefix) -> bool {
    is_same(&part_patterns(part, prefix), subjects)
}

/// Returns the subjects of a part, as JetStream knows them.
pub(super) fn part_patterns((parts, part): (LogParts, LogPart), prefix: &SubjectPrefix) -> Vec<String> {
    let patterns = subjects::log_patterns(parts, part);
    patterns.iter().map(|pattern| prefix.apply(pattern).into_owned()).collect()
}

/// Returns the subjects of the first of so many streams, as JetStream knows them.
fn patterns(parts: LogParts, prefix: &SubjectPrefix) -> Vec<String> {
    part_patterns((parts, LogPart::default()), prefix)
}

pub(super) fn is_same(one: &[String], other: &[String]) -> bool {
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
    fn subjects_and_the_announcement_show_the_split_of_a_stream() {
        let (prefix, [one, two, four]) = (SubjectPrefix::default(), [1, 2, 4].map(parts));
        let upper = two.iter().nth(1).unwrap();
        let of = |place| part_patterns(place, &prefix);
        let all = of((one, LogPart::default()));
        let in_whole = |subjects: &[String], announced| split((one, LogPart::default()), subjects, announced, &prefix);
        assert_eq!((in_whole(&all, None), in_whole(&all, Some(2))), (Split::None, Split::Announced(two)));
        assert_eq!(in_whole(&all, Some(1)), Split::None, "the announcement of the split that made this division");
        assert_eq!(in_whole(&of((two, LogPart::default())), Some(2)), Split::Begun(two));
        assert_eq!(in_whole(&of((four, LogPart::default())), None), Split::Begun(four), "two splits later");
        let third = two.in_division(upper, four);
        assert_eq!(split((two, upper), &of((two, upper)), Some(4), &prefix), Split::Announced(four));
        assert_eq!(split((two, upper), &of((four, third)), Some(4), &prefix), Split::Begun(four));
        assert_eq!(in_whole(&["other".to_owned()], None), Split::None);
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
