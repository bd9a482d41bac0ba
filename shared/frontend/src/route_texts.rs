//! Routes of pushes as texts, for clients that cannot read codes. Pure.

use bytes::{Bytes, BytesMut};
use wire::{Dictionary, Message, Package, PackageKind, RouteRef, WireError, decode_frame};

/// Returns the same packages, with the routes of pushes written out.
pub(super) fn spell_out(frame: &Bytes, dictionary: &Dictionary) -> Bytes {
    // The server's own frames are well-formed. If one is not, the client gets it as it is.
    spelled(frame, dictionary).unwrap_or_else(|_| frame.clone())
}

fn spelled(frame: &Bytes, dictionary: &Dictionary) -> Result<Bytes, WireError> {
    let mut out = BytesMut::with_capacity(frame.len() + 16);
    for package in decode_frame(frame, wire::MAX_BODY)? {
        match with_text(&package, dictionary)? {
            Some(push) => out.extend_from_slice(&push),
            None => package.encode_into(&mut out)?,
        }
    }
    Ok(out.freeze())
}

/// Returns a push whose route is abbreviated as a package with the route; `None` for all else.
fn with_text(package: &Package, dictionary: &Dictionary) -> Result<Option<Bytes>, WireError> {
    if package.kind != PackageKind::Data {
        return Ok(None);
    }
    let Message::Push { route: code @ RouteRef::Code(_), body } = Message::decode(&package.body)? else {
        return Ok(None);
    };
    let Some(route) = dictionary.resolve(&code) else { return Ok(None) };
    Message::Push { route: RouteRef::Text(route.to_owned()), body }.encode_package().map(Some)
}

#[cfg(test)]
mod tests {
    use super::super::routes;
    use super::*;

    #[test]
    fn only_codes_of_pushes_are_replaced() {
        let dictionary = routes::dictionary();
        let push = |route: RouteRef| Message::Push { route, body: "{}".into() }.encode_package().unwrap();
        let text = || RouteRef::Text(routes::ON_CHAT.to_owned());
        let code = dictionary.abbreviate(routes::ON_CHAT);
        assert!(matches!(code, RouteRef::Code(_)));
        let heartbeat = Package::empty(PackageKind::Heartbeat).encode().unwrap();
        let response = Message::Response { id: 7, body: "{}".into() }.encode_package().unwrap();
        let frame = |route: RouteRef| [&heartbeat[..], &push(route), &response, &push(text())].concat();
        assert_eq!(spell_out(&frame(code).into(), &dictionary), frame(text()));
        assert_eq!(spell_out(&frame(RouteRef::Code(999)).into(), &dictionary), frame(RouteRef::Code(999)));
    }
}
