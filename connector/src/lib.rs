//! A connector: holds client connections, proposes what clients want to the owners of their rooms, follows the rooms'
//! records, and tells the clients.
//!
//! Reading order: [`enter`], [`room`], [`hub`] (all pure), then [`deliver`], [`app`] and [`server`], the edge that moves
//! their effects.

pub mod enter;
pub mod hub;
pub mod owners;
pub mod room;
