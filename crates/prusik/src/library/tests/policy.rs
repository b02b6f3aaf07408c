//! The organisation's policy in a program.

use std::sync::Arc;

use prusik_core::event::Decision;
use prusik_store::MemoryStore;

use super::bank::{Bank, clerk};
use crate::{Error, Prusik, Status};

const PAYS: &str = "turns:\n\
     - call: [{ tool: pay, arguments: { to: bob, cents: 700, purpose: invoice } }]\n\
     - say: done\n";

const LIMIT: &str = "@id(\"limit\") forbid (principal == Agent::\"clerk\", action == Action::\"pay\", resource)\n\
     when { context.args.cents > 500 };";

#[tokio::test]
async fn a_program_may_set_a_policy_before_or_after_its_agents() {
    for policy_first in [true, false] {
        let bank = Bank::new();
        let agent = clerk(&bank, PAYS).build().unwrap();
        let prusik = Prusik::in_memory().unwrap();
        let prusik = if policy_first {
            prusik.policy("limit.cedar", LIMIT).unwrap().with(agent)
        } else {
            prusik.with(agent).policy("limit.cedar", LIMIT).unwrap()
        };
        let run = prusik.start("clerk", "Pay.").await.unwrap().drive().await.unwrap();
        assert!(matches!(run.status(), Status::Ended(_)), "{:?}", run.status());
        assert_eq!(bank.read(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_question_of_a_policy_parks_a_run_that_nothing_contains() {
    let bank = Bank::new();
    let ask = LIMIT.replace("@id(\"limit\")", "@id(\"limit\") @ask(\"so much?\")");
    let store = Arc::new(MemoryStore::new());
    let prusik = Prusik::with_store(store).unwrap().with(clerk(&bank, PAYS).build().unwrap());
    let prusik = prusik.policy("limit.cedar", ask).unwrap().by("ann");
    let parked = prusik.start("clerk", "Pay.").await.unwrap().drive().await.unwrap();
    let asked = parked.state().authority.asked.values().next().unwrap().request.clone();
    assert_eq!(asked.policies[0].why, "so much?");
    let week_ms = 7 * 24 * 60 * 60 * 1000;
    assert!(asked.expires.0 > week_ms);
    let run = parked.state().started.run.clone();
    let yes = Decision::Approved { arguments: None, endorsed: false };
    prusik.decide(&run, asked.call, asked.digest, yes).await.unwrap();
    prusik.resume(&run).await.unwrap().drive().await.unwrap();
    assert_eq!(bank.read().len(), 1);
}

#[tokio::test]
async fn a_policy_that_is_wrong_is_told_and_starts_nothing() {
    let refused =
        Prusik::in_memory().unwrap().policy("p.cedar", "permit (principal, action, resource);");
    let Err(Error::Project(errors)) = refused.map(|_| ()) else { panic!("it is refused") };
    assert!(errors.to_string().starts_with("p.cedar:1:1: a policy can only narrow"), "{errors}");
    let bank = Bank::new();
    let typo = LIMIT.replace("\"pay\"", "\"payy\"");
    let prusik = Prusik::in_memory().unwrap().with(clerk(&bank, PAYS).build().unwrap());
    let prusik = prusik.policy("p.cedar", typo).unwrap();
    let Err(Error::Project(errors)) = prusik.start("clerk", "Pay.").await.map(|_| ()) else {
        panic!("it is refused")
    };
    assert!(errors.to_string().contains("did you mean `pay`?"), "{errors}");
}
