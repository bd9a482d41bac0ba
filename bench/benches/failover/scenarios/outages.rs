//! Freezes the broker, stops it, and freezes a chat server, each for longer than a lease: no member
//! may seem to leave.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{EVERY, ROOMS, ScenarioSettings, due_within};
use testkit::chat_id;

use crate::deployment::{Deployment, Layout};
use crate::durations::{COLUMNS, Durations};
use crate::promise_report::PromiseReport;
use crate::room_pairs::{Response, RoomPairs};

/// Three times the lease.
const LASTS: Duration = Duration::from_secs(30);
const BETWEEN: Duration = Duration::from_secs(10);

/// The fault.
#[derive(Debug, Clone, Copy)]
enum Fault {
    BrokerFrozen,
    BrokerDown,
    ChatServerFrozen,
}

/// A fault that was.
struct Outage {
    fault: Fault,
    began: Instant,
    over: Instant,
    /// The time of the next fault.
    next: Instant,
}

pub(super) async fn run(options: &ScenarioSettings, promises: &mut PromiseReport) {
    let mut deployment = Deployment::start(&Layout::three(options.traced)).await;
    let mut pairs = RoomPairs::enter_all(&deployment, 3, ROOMS).await;
    let running = Cell::new(true);
    let faults = async {
        sleep(BETWEEN / 2).await;
        let mut past = Vec::new();
        for fault in [Fault::BrokerFrozen, Fault::BrokerDown, Fault::ChatServerFrozen] {
            let began = Instant::now();
            fault.happens(&mut deployment).await;
            let over = Instant::now();
            sleep(BETWEEN).await;
            past.push(Outage { fault, began, over, next: Instant::now() });
        }
        running.set(false);
        past
    };
    let (results, past) = tokio::join!(pairs.send_messages(EVERY, &running), faults);
    println!("  {:<18} {:>8} {:>8} {COLUMNS}  all rooms serve after", "pauses", "messages", "repeated");
    past.iter().for_each(|outage| outage.show(&results.responses));
    pairs.check_deliveries().await.report(&results, promises);
    deployment.end(promises);
}

impl Fault {
    async fn happens(self, deployment: &mut Deployment) {
        match self {
            Self::BrokerFrozen => {
                deployment.nats.pause().await;
                sleep(LASTS).await;
                deployment.nats.resume();
            }
            Self::BrokerDown => {
                deployment.nats.kill();
                sleep(LASTS).await;
                deployment.nats.restart().await;
            }
            Self::ChatServerFrozen => {
                let server = deployment.process(&chat_id(2));
                server.signal("STOP");
                sleep(LASTS).await;
                server.signal("CONT");
            }
        }
    }
}

impl Outage {
    fn show(&self, responses: &[Response]) {
        let within: Vec<_> = due_within(responses, self.began, self.next).collect();
        let repeats: usize = within.iter().map(|response| response.repeats).sum();
        let pauses: Durations = within.iter().map(|response| response.pause()).collect();
        // Messages that were due during the fault are acknowledged by then, if not before.
        let waited = due_within(responses, self.began, self.over)
            .map(|response| response.responded - self.over.min(response.responded));
        let served = waited.max().unwrap_or_default();
        let fault = format!("{:?}", self.fault);
        println!("  {fault:<18} {:>8} {repeats:>8} {pauses}  {served:.2?}", within.len());
    }
}
