//! Subjects and the patterns that they match. Knows which are well formed, not what they mean.

/// Returns true if `subject` can be published to: tokens between dots, none empty, no white space.
pub(super) fn is_subject(subject: &str) -> bool {
    let is_space = |byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    subject.bytes().all(|byte| !is_space(byte)) && subject.split('.').all(|token| !token.is_empty())
}

/// Returns true if `pattern` covers `subject`: `*` is any one token, a last `>` any one or more.
pub(super) fn matches(pattern: &str, subject: &str) -> bool {
    // Most patterns have no wildcard, and most of the others differ early.
    let literal = pattern.bytes().take_while(|byte| !matches!(byte, b'*' | b'>')).count();
    if !subject.as_bytes().starts_with(&pattern.as_bytes()[..literal]) {
        return false;
    }
    if literal == pattern.len() {
        return literal == subject.len();
    }
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_the_subjects_of_nats() {
        for (pattern, subject) in [("a.b", "a.b"), ("a.*", "a.b"), ("*.b", "a.b"), ("a.>", "a.b.c"), (">", "a")] {
            assert!(matches(pattern, subject), "{pattern} {subject}");
        }
        for (pattern, subject) in [("a.b", "a"), ("a", "a.b"), ("a.*", "a.b.c"), ("a.>", "a"), ("a.b", "a.c")] {
            assert!(!matches(pattern, subject), "{pattern} {subject}");
        }
    }

    #[test]
    fn subjects_have_no_empty_tokens() {
        assert!(is_subject("chat.chat-server-1"));
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a\n"] {
            assert!(!is_subject(bad), "{bad:?}");
        }
    }
}
