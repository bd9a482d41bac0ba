//! Members with tokens: their messages, and the names that they have.

use model::act::Profile;
use model::ids::Uid;
use model::record::Refusal;
use model::settings::SameUser;

use super::*;

const TAKEN: Outcome = Outcome::Refused(Refusal::NameTaken);

fn profile(uid: &str) -> Option<Box<Profile>> {
    Profile { uid: Uid::new(uid).ok(), info: Some("{\"level\":3}".into()), ..Profile::default() }.boxed()
}

/// A join by the membership of session `of`.
fn join_as(session: u64, of: u64, profile: Option<Box<Profile>>, claim: Claim) -> Item {
    let (name, membership) = (Name::new("ann").unwrap(), Token::new(of.into()).membership());
    Item::Join { session, name, membership, claim, seen: None, profile }
}

fn enter(session: u64, uid: &str) -> Item {
    join_as(session, session, profile(uid), Claim::New)
}

/// Proposes items, each in a record; returns the outcomes.
fn decide(harness: &mut OwnerHarness, items: Vec<Item>) -> Vec<Outcome> {
    let outcomes = items.into_iter().zip(1..).map(|(item, number)| {
        harness.sent.clear();
        harness.propose(1, number, vec![item]);
        harness.run();
        harness.outcomes(1).remove(0)
    });
    outcomes.collect()
}

/// Returns the entries of all records.
fn entries(harness: &OwnerHarness) -> Vec<Entry> {
    let record = |position| harness.log.read(&room(), &[Position(position)]).remove(0);
    let records = (1..100).filter_map(record).map(|record| Record::decode(&record).unwrap());
    records.flat_map(|record| record.entries).collect()
}

#[test]
fn entries_have_what_the_token_says() {
    let mut harness = OwnerHarness::new();
    let body = br#"{"content":"hi","target":"*","data":{"card":7}}"#.to_vec().into();
    let send = Item::Send { session: 1, membership: Token::new(1).membership(), body };
    assert_eq!(decide(&mut harness, vec![enter(1, "4711"), join(2, "bob"), send, say(2)]), [Outcome::Done(0); 4]);
    let (mut joined, mut metas) = (Vec::new(), Vec::new());
    for entry in entries(&harness) {
        match entry {
            Entry::Join { profile, .. } => joined.push(profile),
            Entry::Message { meta, .. } => metas.push(meta),
            _ => {}
        }
    }
    assert_eq!(joined, [profile("4711"), None]);
    let meta = metas[0].as_ref().unwrap();
    assert_eq!((meta.uid.clone(), meta.data.as_deref()), (Uid::new("4711").ok(), Some("{\"card\":7}")));
    assert_eq!(metas[1], None, "an anonymous member, and no data");
}

#[test]
fn a_stolen_token_of_a_membership_is_worthless_without_the_users_own() {
    let mut harness = OwnerHarness::new();
    let resume = |session, profile| join_as(session, 1, profile, Claim::Back);
    let items = vec![enter(1, "4711"), resume(2, profile("666")), resume(3, None), resume(4, profile("4711"))];
    assert_eq!(decide(&mut harness, items), [Outcome::Done(0), TAKEN, TAKEN, Outcome::Done(0)]);
    assert!(matches!(entries(&harness).last(), Some(Entry::Move { .. })));
}

#[test]
fn the_newest_session_of_a_user_has_the_name() {
    let entered = |same_user, uid| {
        let mut settings = Settings::default();
        settings.auth.same_user = same_user;
        let mut harness = OwnerHarness::with(TestLog::new(1), &settings, SizeLimits::default());
        decide(&mut harness, vec![enter(1, "4711"), enter(2, uid)])
    };
    assert_eq!(entered(SameUser::Newest, "4711"), [Outcome::Done(0), Outcome::Done(1)]);
    assert_eq!(entered(SameUser::Refuse, "4711"), [Outcome::Done(0), TAKEN]);
    assert_eq!(entered(SameUser::Newest, "666"), [Outcome::Done(0), TAKEN]);
}
