//! Forbidden words.

use client::{ChatClient, ClientError, Event, Events, Options};
use testkit::Deployment;

use crate::layout::Layout;

async fn enter(deployment: &Deployment, name: &str) -> (ChatClient, Events) {
    let (chat, events) = ChatClient::via_gate(&deployment.gate().to_string(), name, Options::default()).await.unwrap();
    chat.enter(name, "lobby").await.unwrap();
    (chat, events)
}

const WORDS: &str = r#"forbidden_words = ["σίσυφος", "istanbul", "İZMİR", "strasse", "durian"]"#;

/// Final sigma, dotted I, sharp s; full width, a ligature's neighbour, a character that nothing
/// shows.
const FORBIDDEN: [&str; 8] =
    ["ΣΊΣΥΦΟΣ", "σίσυφοσ", "İSTANBUL", "izmir", "Straße", "STRAẞE", "ＤＵＲＩＡＮ", "dur\u{200b}ian"];

#[tokio::test]
async fn forbidden_words_are_refused_in_any_case() {
    let deployment = Layout::OneProcess.start(&format!("[room]\n{WORDS}")).await;
    let (ann, _events) = enter(&deployment, "ann").await;
    for word in FORBIDDEN {
        let said = ann.send(&format!("what a {word}!")).await;
        assert!(matches!(said, Err(ClientError::Refused { code: 403, .. })), "{word}: {said:?}");
    }
    for word in ["Σίσυφε", "Istanb", "sträße"] {
        ann.send(word).await.unwrap();
    }
}

#[tokio::test]
async fn forbidden_words_are_masked_in_any_case() {
    let deployment = Layout::OneProcess.start(&format!("[room]\nforbidden = \"mask\"\n{WORDS}")).await;
    let (ann, mut events) = enter(&deployment, "ann").await;
    for word in FORBIDDEN {
        ann.send(&format!("<{word}>")).await.unwrap();
        let Some(Event::Chat(chat)) = events.next().await else { panic!("{word} was not delivered") };
        assert_eq!(chat.msg, format!("<{}>", "*".repeat(word.chars().count())), "{word}");
    }
}
