//! The messages of a page: those of a record that a viewer may see, until the page is full.

use model::act::MessageMeta;
use model::record::{Position, Record};
use model::rpc::messages::{HistoryMessage, HistoryPage, Item};
use model::size_limits::SizeLimits;

use super::Viewer;

/// Collects messages until a page is full.
pub(super) struct Collector {
    pub(super) messages: Vec<HistoryMessage>,
    limit: usize,
    bytes: usize,
    size_limits: SizeLimits,
    /// A message was left out because no response can hold it: it was sent when the broker took
    /// larger messages.
    has_skipped: bool,
}

impl Collector {
    pub(super) fn new(limit: u16, size_limits: SizeLimits) -> Self {
        Self { messages: Vec::new(), limit: usize::from(limit), bytes: 0, size_limits, has_skipped: false }
    }

    /// Returns false if the page is full without this message.
    pub(super) fn take(&mut self, message: HistoryMessage) -> bool {
        let meta = message.meta.as_ref().map_or(0, |meta| meta.size());
        if Item::SEND_AROUND + message.content.len() + meta > self.size_limits.record() {
            self.has_skipped = true;
            return true;
        }
        self.bytes += message.json_size();
        let fits =
            self.messages.len() < self.limit && (self.messages.is_empty() || self.bytes <= self.size_limits.history());
        if fits {
            self.messages.push(message);
        }
        fits
    }

    pub(super) fn into_page(self, cursor: Option<u64>, complete: bool) -> HistoryPage {
        HistoryPage { messages: self.messages, cursor, complete: complete && !self.has_skipped }
    }
}

/// Returns the messages of a record that a viewer may see, in order.
pub(super) fn visible_messages<'a>(
    position: Position,
    record: &'a Record,
    viewer: &'a Viewer,
) -> impl DoubleEndedIterator<Item = HistoryMessage> + 'a {
    record.entries.iter().enumerate().filter_map(move |(index, entry)| {
        let message = entry.message().filter(|message| viewer.may_see(message))?;
        let (seq, time) = (position.seq(index), record.time);
        let to = message.to.map(|(to, _)| to.clone());
        let meta = message.meta.cloned().and_then(MessageMeta::boxed);
        Some(HistoryMessage { seq, time, from: message.from.clone(), to, content: message.content.to_owned(), meta })
    })
}
