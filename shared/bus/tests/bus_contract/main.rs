//! The contract of the bus: the same cases inside one process and over a real NATS server, each
//! also with a tracer on `>`, and with `nats.prefix`; then what only a broker can do to us.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail the test")]

mod cases;
mod fixture;
mod limits;
mod memory_only;
mod nats_only;
mod prefix;
mod sign_in;
mod tls;

/// Runs every case in all five worlds. Inside one process time is paused: a wait without need would
/// fail the test.
macro_rules! contract {
    ($($case:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(start_paused = true)]
            async fn $case() {
                crate::cases::$case(&crate::fixture::BusFixture::memory(false).await).await;
            })+
        }
        mod memory_traced {
            $(#[tokio::test(start_paused = true)]
            async fn $case() {
                crate::cases::$case(&crate::fixture::BusFixture::memory(true).await).await;
            })+
        }
        mod nats {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::cases::$case(&crate::fixture::BusFixture::nats("", false).await).await;
            })+
        }
        mod nats_with_prefix {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::cases::$case(&crate::fixture::BusFixture::nats("staging", false).await).await;
            })+
        }
        mod nats_traced {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::cases::$case(&crate::fixture::BusFixture::nats("", true).await).await;
            })+
        }
    };
}

contract!(
    a_request_is_answered,
    a_response_that_is_not_accepted_is_skipped,
    nobody_there_is_known_at_once,
    silence_ends_at_the_deadline,
    a_reply_to_nobody_brings_the_news,
    every_subscriber_gets_everything_in_order,
    responses_and_pushes_stay_in_order,
    patterns_choose,
    one_of_a_group_gets_each_message,
    a_full_queue_drops_the_newest,
    large_messages_are_refused,
    bad_subjects_are_refused,
    headers_arrive,
    a_subscription_counts_from_its_return,
    dropping_a_subscription_ends_it,
    a_round_trip_comes_back,
    drain_delivers_what_was_accepted,
    a_drained_bus_is_closed,
    given_up_requests_leave_nothing,
);
