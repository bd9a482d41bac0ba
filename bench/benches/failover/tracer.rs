//! Somebody who listens to everything on the bus, as whoever traces it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use runtime::lifecycle::Lifecycle;

/// A subscriber to all subjects, ended when dropped.
pub(crate) struct Tracer {
    heard: Arc<AtomicU64>,
    lifecycle: Lifecycle,
}

impl Tracer {
    /// Subscribes; from now on nothing on the bus is unheard.
    pub(crate) async fn start(url: &str) -> Self {
        let bus = async_nats::connect(url).await.unwrap();
        let mut everything = bus.subscribe(">").await.unwrap();
        bus.flush().await.unwrap();
        let (heard, lifecycle) = (Arc::new(AtomicU64::new(0)), Lifecycle::new());
        let (counter, stopping) = (heard.clone(), lifecycle.stopping());
        lifecycle.spawn(async move {
            let reading = async {
                while everything.next().await.is_some() {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            };
            tokio::select! {
                () = stopping => {}
                () = reading => {}
            }
        });
        Self { heard, lifecycle }
    }

    /// How many messages it read.
    pub(crate) fn received(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.lifecycle.begin_stop();
    }
}
