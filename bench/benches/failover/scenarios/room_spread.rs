//! The spread of rooms over chat servers by the formula, and the share that moves when a server is
//! added, removed or down. Pure.

use model::ids::ServerId;
use model::placement::{self, candidates};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use runtime::config::Server;

use crate::promise_report::PromiseReport;

const ROOMS: usize = 10_000;
const SERVERS: usize = 16;

/// No server may have more than this, as a multiple of an equal share.
const UNEVEN: f64 = 1.2;

pub(super) fn run(promises: &mut PromiseReport) {
    println!("  {ROOMS} rooms; shares as multiples of an equal one: smallest / largest");
    let kinds = kinds();
    let names: Vec<_> = kinds.iter().map(|(name, _)| format!("{name:>13}")).collect();
    println!("  servers {}", names.join(" "));
    let mut worst: f64 = 1.0;
    for servers in 1..=SERVERS {
        let spreads: Vec<_> = kinds.iter().map(|(_, rooms)| extremes(rooms, servers)).collect();
        worst = spreads.iter().fold(worst, |worst, [_, max]| worst.max(*max));
        let spreads: Vec<_> = spreads.iter().map(|[min, max]| format!("{min:>6.3} {max:>6.3}")).collect();
        println!("  {servers:>7} {}", spreads.join(" "));
    }
    println!("\n  share of rooms that move, of the names `words`");
    println!("  servers  one added    doubled  last removed  first removed  one dies");
    for servers in 2..=SERVERS {
        let [added, doubled, last, first, dies] = moves(&kinds[1].1, servers).map(|share| share * 100.0);
        print!("  {servers:>7} {added:>8.1} % {doubled:>8.1} % {last:>11.1} % {first:>12.1} %");
        println!(" {dies:>7.1} %");
    }
    promises.check(worst <= UNEVEN, &format!("no server has more than {UNEVEN} equal shares: {worst:.3}"));
}

/// Rooms with names of several kinds.
fn kinds() -> [(&'static str, Vec<String>); 4] {
    let mut chance = StdRng::seed_from_u64(7);
    let (first, second) = (["red", "old", "lost", "iron", "quiet"], ["fox", "harbour", "moon", "guild", "tavern"]);
    let words = |n: usize| format!("{}-{}-{}", first[n % 5], second[n / 5 % 5], n / 25);
    let mut uuid = |_| {
        let bits: u128 = chance.random();
        format!(
            "{:08x}-{:04x}-4{:03x}-{:016x}",
            bits as u32,
            bits as u16,
            (bits >> 32) as u16 & 0xfff,
            (bits >> 64) as u64
        )
    };
    [
        ("room-N", (0..ROOMS).map(|n| format!("room-{n}")).collect()),
        ("words", (0..ROOMS).map(words).collect()),
        ("ids", (0..ROOMS).map(&mut uuid).collect()),
        ("chinese", (0..ROOMS).map(|n| format!("聊天室{n}")).collect()),
    ]
}

fn index(room: &str, servers: usize) -> usize {
    placement::index(room, servers).unwrap()
}

/// The smallest and the largest share.
fn extremes(rooms: &[String], servers: usize) -> [f64; 2] {
    let mut counts = vec![0_usize; servers];
    rooms.iter().for_each(|room| counts[index(room, servers)] += 1);
    let share = |count: &usize| (*count * servers) as f64 / rooms.len() as f64;
    [counts.iter().min().map(share).unwrap(), counts.iter().max().map(share).unwrap()]
}

/// The share of rooms that another server serves when one is added, as many are added as there are,
/// the last or the first is removed, or the first dies.
fn moves(rooms: &[String], servers: usize) -> [f64; 5] {
    let list: Vec<_> = (0..servers).map(|n| Server::new(ServerId::new(&format!("s-{n}")).unwrap(), "host")).collect();
    let by_death = |room: &str| {
        let failover = candidates(room, &list, |id| *id == list[0].id)[0];
        list.iter().position(|server| server.id == failover.id).unwrap()
    };
    let after = [
        &(|room: &str| index(room, servers + 1)) as &dyn Fn(&str) -> usize,
        &|room| index(room, 2 * servers),
        &|room| index(room, servers - 1),
        // The second is the first of those that are left.
        &|room| index(room, servers - 1) + 1,
        &by_death,
    ];
    after.map(|after| {
        let moved = rooms.iter().filter(|room| index(room, servers) != after(room)).count();
        moved as f64 / rooms.len() as f64
    })
}
