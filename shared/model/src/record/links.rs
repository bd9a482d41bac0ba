//! Links as bytes: the first position, then how far each is below the one before. Most differences
//! take one to three bytes, a position takes five or nine.

use serde::{Deserialize, Deserializer, Serializer};

use super::Position;

pub(super) fn serialize<S: Serializer>(links: &[Position], serializer: S) -> Result<S::Ok, S::Error> {
    // 32 differences take less space than 16 positions, and make fifty messages two reads away.
    let below = links.windows(2).map(|pair| match pair {
        // Links fall. One that rises would be a defect, and must not panic here.
        [newer, older] => newer.0.saturating_sub(older.0),
        _ => 0,
    });
    serializer.collect_seq(links.first().map(|first| first.0).into_iter().chain(below).collect::<Vec<_>>())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Position>, D::Error> {
    let differences = Vec::<u64>::deserialize(deserializer)?;
    let mut at: Option<u64> = None;
    let position = |difference: u64| {
        let position = at.map_or(difference, |at| at.saturating_sub(difference));
        at = Some(position);
        Position(position)
    };
    Ok(differences.into_iter().map(position).collect())
}
