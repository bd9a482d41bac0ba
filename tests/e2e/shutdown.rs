//! A graceful shutdown: accepted requests are answered, acknowledged messages were delivered, and
//! nothing is left.

use client::{ClientError, Event};

use crate::test_cluster::Setup;
use crate::{on_both_buses, on_other_transports};

on_both_buses! {
    a_stop_loses_no_accepted_request,
}

on_other_transports! {
    a_stop_loses_no_accepted_request,
}

async fn a_stop_loses_no_accepted_request(setup: Setup) {
    let setup = setup.with(|settings| {
        settings.session.max_in_flight = 1_000;
        settings.session.request_burst = 1_000;
    });
    let test = setup.start().await;
    let mut ann = test.join_at(0, "ann", "lobby").await;
    let responses: Vec<_> = (0..500).map(|number| ann.chat.send(&number.to_string())).collect();
    // Some are on their way, some are not even sent: the stop comes between.
    assert_eq!(ann.next_message().await.1, "0");
    let metrics = test.cluster.metrics().clone();
    test.cluster.stop().await;
    let mut acknowledged = 1;
    for response in responses.into_iter().skip(1) {
        match response.await {
            Ok(_) => acknowledged += 1,
            Err(ClientError::Closed { kick: None }) => {}
            other => panic!("{other:?}"),
        }
    }
    let mut received = 1;
    loop {
        match ann.next_event().await {
            Event::Chat(chat) => {
                assert_eq!(chat.msg, received.to_string());
                received += 1;
            }
            Event::Closed => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(acknowledged, received, "acknowledged messages were delivered, and no others");
    // The first request was to enter.
    assert_eq!(acknowledged, metrics.requests.get() - 1, "every request that was accepted was answered");
    assert_eq!(metrics.connections.get(), 0);
}
