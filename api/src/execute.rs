//! The execution of each kind of command: what it requests of the rooms, and its response.

mod acts;
mod lists;
mod several;

use std::future::Future;

use model::act::{Act, IdentifiedAct};
use model::ids::RoomId;
use model::membership::MessageId;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::idempotency;
use crate::refused::{self, Refused};
use crate::reply::Sent;
use crate::rooms::RoomsRequest;
use crate::service::{Context, Pending};

/// A request that can be executed.
pub(crate) trait Execute: Sized {
    /// The response.
    type Reply: Serialize + ToSchema + Send + 'static;

    /// It is an act, or several.
    const IS_ACT: bool = false;

    /// The room that the key must be for.
    fn room(&self) -> Option<&RoomId> {
        None
    }

    /// The commands that it counts as.
    fn cost(&self) -> u32 {
        1
    }

    /// Begins it now. The returned future has the response.
    fn execute(
        self,
        context: &Context,
    ) -> Result<impl Future<Output = Result<Self::Reply, Refused>> + Send + 'static, Refused>;
}

/// Begins a request, and renders its response.
pub(crate) fn begin<T: Execute>(request: T, context: &Context) -> Pending {
    match request.execute(context) {
        Ok(pending) => Box::pin(async move { render(&pending.await?) }),
        Err(refused) => Box::pin(std::future::ready(Err(refused))),
    }
}

/// Renders a response, with its code first.
// The code is also in the body: over the bus there is no status, and in a batch there are
// many.
fn render(reply: &impl Serialize) -> Result<Value, Refused> {
    const UNRENDERED: Refused = Refused::new(500, "defect: the response cannot be written");
    let Ok(Value::Object(members)) = serde_json::to_value(reply) else { return Err(UNRENDERED) };
    Ok(with_code(200, members))
}

/// Returns the members of a response with its code.
pub(crate) fn with_code(code: u16, members: serde_json::Map<String, Value>) -> Value {
    let mut all = serde_json::Map::new();
    all.insert("code".to_owned(), code.into());
    all.extend(members);
    Value::Object(all)
}

/// Returns the result of a command as the response that has it.
pub(crate) fn result_value(result: Result<Value, Refused>) -> Value {
    result.unwrap_or_else(|Refused { code, reason }| json!({ "code": code, "reason": reason }))
}

impl Context {
    /// Requests an act of a room now; the returned future has its outcome. `name` and `request` are
    /// those of the command, in the form that a repeat has too.
    fn act<T: Serialize>(
        &self,
        (name, request): (&str, &T),
        room: RoomId,
        act: Act,
    ) -> impl Future<Output = Result<Sent, Refused>> + Send + use<T> {
        // With the id of the key: two applications may choose the same idempotency key.
        let id = MessageId::of_act(&self.key.id, &room, self.idempotency.as_str(), self.index);
        let act = IdentifiedAct { id, digest: idempotency::digest_of(name, request), act };
        let deadline = self.deadline;
        let outcome = self.service.rooms().request(deadline, move |reply| RoomsRequest::Act { room, act, reply });
        async move { outcome.wait().await.into_result().map(Sent::from) }
    }

    /// Refuses a command about users where there are none.
    fn check_users(&self) -> Result<(), Refused> {
        if self.service.limits().has_users { Ok(()) } else { Err(refused::AUTH_OFF) }
    }

    /// Returns the context of the next command of a request, which has a deadline of its own.
    fn next(&self, index: u32) -> Self {
        Self { index, deadline: Instant::now() + self.service.limits().request, ..self.clone() }
    }
}
