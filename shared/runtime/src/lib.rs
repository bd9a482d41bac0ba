//! Parts that every process needs: configuration, the lifecycle of tasks, clock, metrics, health, rate-limited logs.
//!
//! Reading order: [`config`], [`lifecycle`], [`metrics`], [`health`].

pub mod adaptive_hold;
pub mod batching;
pub mod clock;
pub mod config;
pub mod fault;
pub mod health;
pub mod interval;
pub mod lifecycle;
pub mod log_rate_limit;
pub mod metrics;
pub mod precise_timer;
pub mod server_list;
pub mod shared_hold;
pub mod text_file;
