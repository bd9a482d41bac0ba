//! Orders of events that rules were made for, each by name, each as a script. Nothing is left to
//! chance: what is under way lies open on a [`scripted_cluster`], and moves when the script lets
//! it.

mod batching;
mod churn;
mod clocks;
mod deduplication;
mod failure_detection;
mod fencing;
mod handover;
mod leave;
mod log_split;
mod lost_records;
mod lost_sessions;
mod overtaking_resumes;
mod poison;
mod replays;
mod scripted_cluster;
mod silence;
mod stale_messages;
mod stray_messages;
mod transit;
mod users;

/// The room of all scripts.
const ROOM: &str = "lobby";

/// Its home, and its failover owner, of three.
const HOME: usize = 2;
const CANDIDATE: usize = 1;

/// The connectors.
const LEFT: usize = 0;
const RIGHT: usize = 1;

/// The clients: Ann and Carl at the left connector, Bob at the right one.
const ANN: u64 = 1;
const BOB: u64 = 2;
const CARL: u64 = 3;
