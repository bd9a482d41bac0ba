//! The reasons for which a log is not split, each with its remedy.

use thiserror::Error;

/// The log is not split, or not further. Every variant is for the operator to solve, so its text says
/// what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The NATS server cannot make a stream of a mirror.
    #[error("the NATS server {version} cannot split a stream: upgrade all servers to 2.12.7 or later")]
    TooOld {
        /// The server's version.
        version: String,
    },
    /// Each slot has a stream.
    #[error("the log has 64 streams, the most that it can have")]
    Most,
    /// The first stream's subjects are of no log.
    #[error(
        "the first stream of the log has the subjects {subjects}, which are of no division of a log: a chat server that \
         starts names the difference and its remedy"
    )]
    NoLog {
        /// The stream's subjects.
        subjects: String,
    },
    /// The first stream announces a split that is not the next one.
    #[error(
        "the log has {found} streams, and its first one announces a split into {announced}: remove `shaddock-split` from \
         the metadata of its streams (`nats stream edit`)"
    )]
    OtherSplit {
        /// Its streams.
        found: usize,
        /// Those of the announcement.
        announced: usize,
    },
    /// A stream of the log is missing.
    #[error(
        "there is no stream {stream}, which is one of the log: start chat servers to create the log, or restore it"
    )]
    Missing {
        /// Its name.
        stream: String,
    },
    /// A stream of the log has subjects of no step of a split.
    #[error(
        "the stream {stream} of the log has the subjects {subjects:?}, which are of no step of a split: a chat server that \
         starts names the difference and its remedy"
    )]
    OtherSubjects {
        /// Its name.
        stream: String,
        /// Its subjects.
        subjects: Vec<String>,
    },
    /// A stream that is none of the log has the name of a copy.
    #[error(
        "the stream {stream} has the name of a copy, and has other subjects or mirrors another stream: if it is of no use, \
         remove it (`nats stream rm {stream}`), and run this again"
    )]
    Strange {
        /// Its name.
        stream: String,
    },
    /// An origin gave up half of its rooms, and there is no copy of them.
    #[error(
        "there is no copy {stream}, and {origin} has half of its rooms only: run `shaddock log split --undo`, which gives \
         them back to it"
    )]
    CopyMissing {
        /// The copy's name.
        stream: String,
        /// The origin's.
        origin: String,
    },
    /// A copy is of another epoch than its origin.
    #[error(
        "{origin} was deleted and created again since {stream} was made as its copy: run `shaddock log split --undo`, then \
         this again"
    )]
    OtherEpoch {
        /// The copy's name.
        stream: String,
        /// The origin's.
        origin: String,
    },
    /// A copy has become a stream of rooms.
    #[error("a stream of the split has its rooms already: it can only go on, run `shaddock log split`")]
    TooLate,
    /// The split is not complete.
    #[error("the split is not complete: run `shaddock log split`, or `shaddock log split --undo`")]
    NotComplete,
    /// The split is younger than a day.
    #[error(
        "the split was complete {hours} hours ago: purge a day later, when it is certain that nothing is missing, or now \
         with --force"
    )]
    TooEarly {
        /// Hours since the split.
        hours: u64,
    },
    /// A stream was deleted and created again since the split.
    #[error(
        "{origin} or {copy} was deleted and created again since the split, and the other one has the last records of its \
         rooms: keep these where you need them, and purge with --force"
    )]
    Lost {
        /// The stream that kept the lower half.
        origin: String,
        /// The one that was its copy.
        copy: String,
    },
    /// Half of the space is too little for the records of a stream.
    #[error(
        "the stream {stream} has {bytes} bytes of its own rooms, and its part of log.max_total_bytes is {most}: raise \
         log.max_total_bytes above {wanted}, at chat servers as well, and run this again"
    )]
    TooSmall {
        /// Its name.
        stream: String,
        /// Its bytes.
        bytes: u64,
        /// Its part of the log's space.
        most: u64,
        /// The space that suffices.
        wanted: u64,
    },
    /// A copy did not get the last records in time.
    #[error(
        "{stream} or one of its replicas did not get the last records of {origin} within {secs} s: see that all servers \
         of JetStream are there, and run this again"
    )]
    TooSlow {
        /// The copy's name.
        stream: String,
        /// The origin's.
        origin: String,
        /// Seconds waited.
        secs: u64,
    },
    /// A copy differs from its origin.
    #[error("{stream} is not the same as {origin} ({difference}): run `shaddock log split --undo`, then this again")]
    Differs {
        /// The copy's name.
        stream: String,
        /// The origin's.
        origin: String,
        /// The difference.
        difference: String,
    },
    /// A stream of the log takes no message.
    #[error(
        "the stream {stream} is full ({reason}): raise log.max_total_bytes and the stream's limit (`nats stream edit {stream} \
         --max-bytes`), and run this again"
    )]
    Full {
        /// Its name.
        stream: String,
        /// The server's description.
        reason: String,
    },
    /// JetStream has no space for a copy.
    #[error(
        "JetStream has no space for {stream} with its replicas, which may be as large as {origin} until the purge \
         ({reason}): raise max_file_store in nats-server's configuration or the account's limits, and run this again; `shaddock log split \
         --undo` removes the copies"
    )]
    NoSpace {
        /// The copy's name.
        stream: String,
        /// The origin's.
        origin: String,
        /// The server's description.
        reason: String,
    },
    /// The account reached its limit of streams.
    #[error(
        "the account may have no further stream ({reason}): raise its max_streams, for example with `shaddock setup DIR \
         --set log.streams={wanted}`, and run this again"
    )]
    TooManyStreams {
        /// Streams after the split.
        wanted: usize,
        /// The server's description.
        reason: String,
    },
    /// JetStream refused, or did not respond.
    #[error(
        "the stream {stream} cannot be read or changed ({reason}): see that the user may use $JS.API.> and a majority of \
         the servers is there, and run this again: it goes on from there"
    )]
    Request {
        /// Its name.
        stream: String,
        /// The server's description.
        reason: String,
    },
    /// A step failed while rooms waited, so the origins have all rooms again.
    #[error("the streams have all of their rooms again, as before, because {0}")]
    GivenBack(Box<Self>),
    /// A step failed while rooms waited, and there is no way back.
    #[error("rooms wait, run this again at once: {cause}; they cannot be given back: {failure}")]
    RoomsWait {
        /// The failure of the step.
        cause: Box<Self>,
        /// The reason for which the origins do not have their rooms again.
        failure: Box<Self>,
    },
    /// The bus is the one inside this process.
    #[error("the streams are those of a NATS server: add --nats URL")]
    NoNats,
}

impl Refusal {
    /// Returns true if a step failed, and the streams are as the step found them.
    pub(super) fn is_failed_step(&self) -> bool {
        matches!(
            self,
            Self::Request { .. }
                | Self::TooSlow { .. }
                | Self::Differs { .. }
                | Self::Full { .. }
                | Self::NoSpace { .. }
                | Self::TooManyStreams { .. }
        )
    }
}
