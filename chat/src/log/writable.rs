//! Whether the log takes records, judged by what came of using it. Pure: asks nobody.

use shared::record::Position;

use super::{AppendError, Look, ReadError};

/// What is known of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Writable {
    /// Nothing yet.
    #[default]
    Unknown,
    /// It answers.
    Yes,
    /// It gave no clear answer.
    No(String),
    /// It is as large as it may be; how large, once a look told.
    Full(Option<u64>),
}

impl Writable {
    /// Takes in the result of an append. One that is refused for its expectation is an answer as good as another.
    pub fn appended(&mut self, result: &Result<Position, AppendError>) {
        match result {
            Ok(_) => *self = Self::Yes,
            Err(AppendError::Refused) if matches!(self, Self::Full(_)) => {}
            Err(AppendError::Refused) => *self = Self::Yes,
            Err(AppendError::Full) if matches!(self, Self::Full(_)) => {}
            Err(AppendError::Full) => *self = Self::Full(None),
            // It says nothing of records that fit.
            Err(AppendError::TooLarge { .. }) => {}
            Err(AppendError::Unclear(reason)) => *self = Self::No(reason.clone()),
        }
    }

    /// Takes in the result of a look. A full log takes records again when there is less in it.
    pub fn looked(&mut self, result: &Result<Look, ReadError>) {
        match (result, &*self) {
            (Err(ReadError(reason)), _) => *self = Self::No(reason.clone()),
            (Ok(look), Self::Full(None)) => *self = Self::Full(Some(look.bytes)),
            (Ok(look), Self::Full(Some(bytes))) if look.bytes >= *bytes => {}
            (Ok(_), _) => *self = Self::Yes,
        }
    }

    /// What is wrong, if anything is.
    pub fn fault(&self) -> Option<String> {
        match self {
            Self::Unknown => Some("the log has not been looked at yet".to_owned()),
            Self::Yes => None,
            Self::No(reason) => Some(format!("the log gives no clear answer: {reason}")),
            Self::Full(_) => Some(AppendError::Full.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::record::Epoch;

    use super::*;

    fn look(bytes: u64) -> Result<Look, ReadError> {
        Ok(Look { epoch: Epoch(1), bytes })
    }

    #[test]
    fn a_log_is_writable_when_it_answers() {
        let mut log = Writable::default();
        assert!(log.fault().is_some());
        log.looked(&look(7));
        assert_eq!(log.fault(), None);
        log.looked(&Err(ReadError("away".to_owned())));
        assert!(log.fault().unwrap().contains("away"));
        log.appended(&Err(AppendError::Refused));
        assert_eq!(log.fault(), None);
        log.appended(&Err(AppendError::Unclear("late".to_owned())));
        assert!(log.fault().unwrap().contains("late"));
        log.appended(&Ok(Position(3)));
        assert_eq!(log.fault(), None);
    }

    #[test]
    fn a_full_log_is_so_until_less_is_in_it() {
        let mut log = Writable::default();
        log.appended(&Err(AppendError::Full));
        for result in [look(100), look(100), look(101)] {
            log.looked(&result);
            log.appended(&Err(AppendError::Refused));
            assert!(log.fault().unwrap().contains("log.max_total_bytes"));
        }
        log.looked(&look(99));
        assert_eq!(log.fault(), None);
        log.appended(&Err(AppendError::Full));
        log.appended(&Ok(Position(3)));
        assert_eq!(log.fault(), None);
    }
}
