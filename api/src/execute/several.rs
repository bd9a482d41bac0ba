//! Requests of several commands: a message to many rooms, and batches.

use std::future::Future;

use futures_util::{FutureExt, StreamExt, stream};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::acts::NewMessage;
use super::{Execute, render, result_value};
use crate::command::Kind;
use crate::refused::Refused;
use crate::reply::Results;
use crate::request::{Batch, Broadcast, Publish};
use crate::service::{self, Context, Pending, check_room};

/// Commands of a batch.
const MAX_COMMANDS: usize = 1_000;

/// Commands of a request that wait for their outcomes at once.
const AT_ONCE: usize = 64;

/// The command was not begun in time.
const NOT_BEGUN: Refused =
    Refused::new(429, "not-begun: the commands before took too long; nothing was done for this one");

impl Execute for Broadcast {
    type Reply = Results;
    const IS_ACT: bool = true;

    fn cost(&self) -> u32 {
        u32::try_from(self.rooms.len()).unwrap_or(u32::MAX)
    }

    fn execute(
        self,
        context: &Context,
    ) -> Result<impl Future<Output = Result<Results, Refused>> + Send + 'static, Refused> {
        let Self { rooms, content, from, uid, data } = self;
        // Refused as a whole where it would be refused in each room.
        let message = NewMessage { content: &content, from: from.as_ref(), uid: uid.as_ref(), data: data.as_ref() };
        message.act(context)?;
        let context = context.clone();
        let commands = rooms.into_iter().map(move |rid| {
            let (content, from, uid, data) = (content.clone(), from.clone(), uid.clone(), data.clone());
            let message = Publish { rid, content, from, uid, data };
            // Each room has its own ids of acts, so all commands have the first index.
            begin_in_time(&context, 0, |context| publish(message, context))
        });
        Ok(results(commands, AT_ONCE))
    }
}

/// Begins one of the messages; the result has the room.
fn publish(message: Publish, context: &Context) -> Pending {
    let rid = message.rid.to_string();
    let sent = check_room(&context.key, &message.rid).and_then(|()| message.execute(context));
    let result = match sent {
        Ok(pending) => async move { render(&pending.await?) }.boxed(),
        Err(refused) => std::future::ready(Err(refused)).boxed(),
    };
    Box::pin(async move {
        let mut value = result_value(result.await);
        if let Value::Object(members) = &mut value {
            members.insert("rid".to_owned(), rid.into());
        }
        Ok(value)
    })
}

impl Execute for Batch {
    type Reply = Results;
    const IS_ACT: bool = true;

    fn cost(&self) -> u32 {
        // Each command counts for itself.
        0
    }

    fn execute(
        self,
        context: &Context,
    ) -> Result<impl Future<Output = Result<Results, Refused>> + Send + 'static, Refused> {
        if !(1..=MAX_COMMANDS).contains(&self.commands.len()) {
            return Err(Refused::new(400, "bad-commands: commands must be a list of 1 to 1000 commands"));
        }
        let at_once = if self.parallel.unwrap_or(false) { AT_ONCE } else { 1 };
        let context = context.clone();
        let commands = (0..)
            .zip(self.commands)
            .map(move |(index, members)| begin_in_time(&context, index, |context| begin(members, context)));
        Ok(results(commands, at_once))
    }
}

/// Begins a command of a batch.
fn begin(mut members: Map<String, Value>, context: &Context) -> Pending {
    let kind = members.remove("command").and_then(|name| Kind::named(name.as_str()?));
    match kind {
        None => refuse(Refused::new(400, "bad-command: command must be the name of a command")),
        Some(Kind::Batch | Kind::Broadcast) => {
            refuse(Refused::new(400, "bad-command: a batch has neither batches nor broadcasts"))
        }
        Some(kind) => service::begin(context, kind, members),
    }
}

fn refuse(refused: Refused) -> Pending {
    Box::pin(std::future::ready(Err(refused)))
}

fn begin_in_time(context: &Context, index: u32, begin: impl FnOnce(&Context) -> Pending) -> Pending {
    if Instant::now() > context.last_start { refuse(NOT_BEGUN) } else { begin(&context.next(index)) }
}

/// Begins commands in their order, and collects their results in the same.
fn results(
    commands: impl Iterator<Item = Pending> + Send + 'static,
    at_once: usize,
) -> impl Future<Output = Result<Results, Refused>> + Send + 'static {
    let results = stream::iter(commands).buffered(at_once).map(result_value);
    results.collect().map(|results| Ok(Results { results }))
}
