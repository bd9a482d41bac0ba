//! The switch that breaks an in-process bus: a broken connection without a broker.

use bus::{Bus, BusError, Connection, MemoryLimits};
use runtime::metrics::Metrics;

use crate::fixture::{ROOM, SOON, next, number, numbered, to};

#[tokio::test(start_paused = true)]
async fn the_switch_breaks_the_connection_and_makes_a_new_one() {
    let metrics = Metrics::new();
    let bus = Bus::memory(MemoryLimits::default(), metrics.clone());
    let mut received = bus.subscribe("chat.a", ROOM).await.unwrap();
    let (outcome, ()) = tokio::join!(bus.request(to("chat.a", "?"), SOON), async { bus.set_connected(false) });
    assert_eq!(outcome, Err(BusError::Disconnected));
    assert_eq!(*bus.connection().borrow(), Connection { up: false, generation: 1 });
    assert_eq!(bus.publish(to("chat.a", numbered(1))), Err(BusError::Disconnected));
    assert_eq!(metrics.bus_dropped_disconnected.get(), 1);

    bus.set_connected(true);
    assert_eq!(*bus.connection().borrow(), Connection { up: true, generation: 2 });
    assert_eq!(metrics.bus_reconnects.get(), 1);
    bus.publish(to("chat.a", numbered(2))).unwrap();
    assert_eq!(next(&mut received).await.payload, "?");
    assert_eq!(number(&next(&mut received).await), 2);
}
