//! Content rules. Takes the JSON body of a client's `send`, returns the message to append or a
//! refusal.

mod forbidden_words;

use std::borrow::Cow;

use model::act::MAX_DATA_BYTES;
use model::ids::{Name, RoomId};
use model::record::Refusal;
use model::settings::{Forbidden, RoomSettings};
use serde_json::Value;
use wire::{Body, text, value};

use self::forbidden_words::ForbiddenWords;

/// A `send` that the rules allow.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Text for the clients; forbidden words may be masked.
    pub content: String,
    /// The receivers.
    pub target: Target,
    /// The client's idempotency key.
    pub id: Option<String>,
    /// JSON of the application beside the text.
    pub data: Option<String>,
}

/// Most characters of an idempotency key.
const MAX_ID_CHARS: usize = 64;

/// Most bytes of content and data together, as clients get them. Names, room and user fit beside them
/// into a package.
const MAX_BYTES: usize = 60 * 1024;

/// The receivers of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// `*`: all members of the room.
    All,
    /// One member; `None` for a name that no member can have.
    One(Option<Name>),
}

/// The rules of a chat server, made from its settings once.
#[derive(Debug, Clone)]
pub struct Rules {
    max_content: usize,
    forbidden_words: ForbiddenWords,
    forbidden: Forbidden,
}

impl Rules {
    /// Creates the rules that the settings describe.
    pub fn new(settings: &RoomSettings) -> Self {
        Self {
            max_content: settings.max_content,
            forbidden_words: ForbiddenWords::new(settings.forbidden_words.iter().map(String::as_str)),
            forbidden: settings.forbidden,
        }
    }

    /// Parses and checks the body of a `send` in `room`.
    pub fn read(&self, room: &RoomId, body: &[u8]) -> Result<Message, Refusal> {
        let length = body.len();
        let body = Body::parse(body).into_members().ok_or(Refusal::BadBody)?;
        check_room(room, body.get("rid"))?;
        let target = read_target(body.get("target"))?;
        let content = body.get("content").and_then(value::scalar_text).ok_or(Refusal::BadContent)?;
        // Measured as sent: clients get escapes, so an emoji takes twelve bytes.
        if text::json_len(&content) > self.max_content {
            return Err(Refusal::TooLong);
        }
        let data = read_data(body.get("data"), length.saturating_sub(content.len()))?;
        if text::json_len(&content) + data.as_deref().map_or(0, text::json_len) > MAX_BYTES {
            return Err(Refusal::TooLong);
        }
        Ok(Message { content: self.censor(&content)?, target, id: read_id(body.get("id"))?, data })
    }

    fn censor(&self, content: &str) -> Result<String, Refusal> {
        match self.forbidden {
            Forbidden::Mask => Ok(self.forbidden_words.mask(content)),
            Forbidden::Refuse if self.forbidden_words.occur_in(content) => Err(Refusal::Forbidden),
            Forbidden::Refuse => Ok(content.to_owned()),
        }
    }
}

/// Checks `rid`, which old clients send: it may be missing, but must not name another room.
fn check_room(room: &RoomId, rid: Option<&Value>) -> Result<(), Refusal> {
    match rid {
        None | Some(Value::Null) => Ok(()),
        Some(rid) if value::text(rid).is_some_and(|rid| rid == room.as_str()) => Ok(()),
        Some(_) => Err(Refusal::WrongRoom),
    }
}

fn read_target(target: Option<&Value>) -> Result<Target, Refusal> {
    match target.and_then(value::text).as_deref() {
        Some("*") => Ok(Target::All),
        Some(name) => Ok(Target::One(Name::new(name).ok())),
        None => Err(Refusal::BadTarget),
    }
}

fn read_id(id: Option<&Value>) -> Result<Option<String>, Refusal> {
    let Some(id) = id.filter(|id| !id.is_null()) else { return Ok(None) };
    let is_id = |id: &Cow<'_, str>| !id.is_empty() && id.chars().nth(MAX_ID_CHARS).is_none();
    value::text(id).filter(is_id).map(|id| Some(id.into_owned())).ok_or(Refusal::BadId)
}

/// Returns the data of a message as JSON, if there is any; `most` is the length of what the client
/// sent.
fn read_data(data: Option<&Value>, most: usize) -> Result<Option<String>, Refusal> {
    let Some(data) = data.filter(|data| !data.is_null()) else { return Ok(None) };
    let json = data.to_string();
    // `1e15` is written out, and a record has space for what was sent.
    if json.len() > MAX_DATA_BYTES.min(most) { Err(Refusal::BadData) } else { Ok(Some(json)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(words: &[&str], forbidden: Forbidden) -> Rules {
        let forbidden_words = words.iter().map(|w| (*w).to_owned()).collect();
        Rules::new(&RoomSettings { forbidden_words, forbidden, max_content: 24, ..RoomSettings::default() })
    }

    fn read(body: &str) -> Result<Message, Refusal> {
        rules(&["Durian"], Forbidden::Refuse).read(&RoomId::new("lobby").unwrap(), body.as_bytes())
    }

    #[test]
    fn a_message_to_all() {
        let message = read(r#"{"rid":"lobby","content":"hi","from":"x","target":"*"}"#).unwrap();
        assert_eq!(message, Message { content: "hi".to_owned(), target: Target::All, id: None, data: None });
    }

    #[test]
    fn an_id_is_a_short_text() {
        let id = |id: &str| read(&format!(r#"{{"content":"hi","target":"*","id":{id}}}"#)).map(|message| message.id);
        let longest = "😀".repeat(MAX_ID_CHARS);
        assert_eq!(id(&format!("{longest:?}")), Ok(Some(longest.clone())));
        assert_eq!(id("null"), Ok(None));
        assert_eq!(id("7"), Ok(Some("7".to_owned())));
        for bad in ["1.5", "true", "\"\"", "[]", &format!("\"{longest}x\"")] {
            assert_eq!(id(bad), Err(Refusal::BadId), "{bad}");
        }
    }

    #[test]
    fn data_is_any_short_json() {
        let data =
            |data: &str| read(&format!(r#"{{"content":"hi","target":"*","data":{data}}}"#)).map(|read| read.data);
        assert_eq!(data(r#"{"b": 1}"#), Ok(Some(r#"{"b":1}"#.to_owned())));
        assert_eq!(data("false"), Ok(Some("false".to_owned())));
        assert_eq!(data("null"), Ok(None));
        let of = |length: usize| format!("{:?}", "x".repeat(length - 2));
        assert!(data(&of(MAX_DATA_BYTES)).is_ok());
        assert_eq!(data(&of(MAX_DATA_BYTES + 1)), Err(Refusal::BadData));
        let written_out = format!("[{}1e15]", "1e15,".repeat(200));
        assert_eq!(data(&written_out), Err(Refusal::BadData), "longer than what was sent");
    }

    #[test]
    fn bodies_that_say_nothing_are_refused() {
        assert_eq!(read(""), Err(Refusal::BadTarget));
        assert_eq!(read("{\"target\""), Err(Refusal::BadTarget));
        assert_eq!(read("[1]"), Err(Refusal::BadBody));
        assert_eq!(read(r#"{"target":"*"}"#), Err(Refusal::BadContent));
        for content in ["null", "{}", r#"{"text":"hi"}"#, r#"["hi"]"#] {
            assert_eq!(
                read(&format!(r#"{{"target":"*","content":{content}}}"#)),
                Err(Refusal::BadContent),
                "{content}"
            );
        }
        assert_eq!(read(r#"{"target":"*","content":1e400}"#), Err(Refusal::BadBody));
        assert_eq!(read(r#"{"target":["*"],"content":"hi"}"#), Err(Refusal::BadTarget));
    }

    #[test]
    fn numbers_and_booleans_are_their_texts() {
        for (content, text) in [("7", "7"), ("7.0", "7"), ("-1.5", "-1.5"), ("true", "true"), ("false", "false")] {
            let message = read(&format!(r#"{{"content":{content},"target":1001,"rid":"lobby"}}"#)).unwrap();
            assert_eq!(message.content, text);
            assert_eq!(message.target, Target::One(Name::new("1001").ok()));
        }
        let numbered =
            rules(&[], Forbidden::Refuse).read(&RoomId::new("1").unwrap(), br#"{"rid":1,"content":"hi","target":"*"}"#);
        assert!(numbered.is_ok(), "{numbered:?}");
    }

    #[test]
    fn another_room_is_refused() {
        assert_eq!(read(r#"{"rid":"attic","content":"hi","target":"*"}"#), Err(Refusal::WrongRoom));
        assert_eq!(read(r#"{"rid":1,"content":"hi","target":"*"}"#), Err(Refusal::WrongRoom));
    }

    #[test]
    fn content_is_measured_as_it_is_sent() {
        // An emoji becomes two escapes of six bytes.
        assert!(read(r#"{"content":"😀😀","target":"*"}"#).is_ok());
        assert_eq!(read(r#"{"content":"😀😀!","target":"*"}"#), Err(Refusal::TooLong));
    }

    #[test]
    fn forbidden_words_are_found_in_any_case() {
        assert_eq!(read(r#"{"content":"a dURIAn","target":"*"}"#), Err(Refusal::Forbidden));
    }

    #[test]
    fn forbidden_words_are_masked() {
        let masked = rules(&["durian", " "], Forbidden::Mask)
            .read(&RoomId::new("lobby").unwrap(), r#"{"content":"Durian, ädurian","target":"bob"}"#.as_bytes())
            .unwrap();
        assert_eq!(masked.content, "******, ä******");
        assert_eq!(masked.target, Target::One(Name::new("bob").ok()));
    }
}
