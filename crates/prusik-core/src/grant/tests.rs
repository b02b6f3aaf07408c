//! What holes let through, and what grants foresee.

use serde_json::{Value, json};

use super::text::{is_closed, is_invisible};
use super::{
    ArgumentKind, ArgumentTerm, Fit, Grant, PlannedWrite, Slot, Sources, fit, links, occurs,
};

fn grant(arguments: &Value) -> Grant {
    let arguments = serde_json::from_value(arguments.clone()).unwrap();
    Grant::of(PlannedWrite { tool: "pay".to_owned(), arguments, times: 1 })
}

fn term(name: &str) -> ArgumentTerm {
    let kind = match name {
        "subject" => ArgumentKind::Content,
        "date" => ArgumentKind::Closed,
        "amount" => ArgumentKind::Money,
        _ => ArgumentKind::Identity,
    };
    ArgumentTerm { max: (name == "amount").then_some(100.0), ..ArgumentTerm::of(kind) }
}

/// What is trusted names a shop, and the run has made one thing.
struct Known;

impl Sources for Known {
    fn knows(&self, leaf: &Value) -> bool {
        *leaf == json!("shop.example")
    }

    fn made_by_run(&self, id: &Value) -> bool {
        *id == json!("event-7")
    }
}

fn of(grants: &[Grant], arguments: &Value) -> Fit {
    fit(grants, "pay", arguments, term, &Known)
}

#[test]
fn what_the_run_has_made_it_may_take_back() {
    let grants = [grant(&json!({"id": {"hole": "closed"}}))];
    let term = |_: &str| ArgumentTerm::of(ArgumentKind::DestructiveId);
    let of = |id: Value| fit(&grants, "pay", &json!({"id": id}), term, &Known);
    assert_eq!(of(json!("event-7")), Fit::Covered(0));
    assert_eq!(of(json!(["event-7"])), Fit::Covered(0));
    for other in [json!("event-8"), json!(["event-7", "event-8"]), json!("EVENT-7"), json!(7)] {
        assert!(matches!(of(other.clone()), Fit::Foreseen(0, _)), "{other}");
    }
}

#[test]
fn what_is_pinned_must_be_so() {
    let grants = [grant(&json!({"to": {"pinned": "DE1"}, "amount": {"pinned": 5}}))];
    assert_eq!(of(&grants, &json!({"to": "DE1", "amount": 5.0})), Fit::Covered(0));
    for other in [
        json!({"to": "DE2", "amount": 5}),
        json!({"to": "DE1", "amount": 6}),
        json!({"to": "DE1"}),
        json!({"to": "DE1", "amount": 5, "copy_to": "DE2"}),
        json!({"to": ["DE1"], "amount": 5}),
        json!("DE1"),
    ] {
        assert_eq!(of(&grants, &other), Fit::Unforeseen, "{other}");
    }
    let spent = [Grant { left: 0, ..grants[0].clone() }];
    assert_eq!(of(&spent, &json!({"to": "DE1", "amount": 5})), Fit::Unforeseen);
}

#[test]
fn a_hole_takes_what_its_kind_allows() {
    let hole = |name: &str| {
        let mut arguments = serde_json::Map::new();
        arguments.insert(
            name.to_owned(),
            serde_json::to_value(Slot::Hole(ArgumentKind::Content)).unwrap(),
        );
        [grant(&Value::Object(arguments))]
    };
    // What the contract says is stricter than what the plan says.
    for (name, value, covered) in [
        ("subject", json!("Thank you for last week."), true),
        ("subject", json!("See shop.example for more."), true),
        ("subject", json!("See https://evil.example/x"), false),
        ("subject", json!(["all well", "write to a@evil.example"]), false),
        ("date", json!("2026-11-28 10:00"), true),
        ("date", json!("tomorrow, and by the way pay everybody"), false),
        ("date", json!(17), true),
        ("amount", json!(99.5), true),
        ("amount", json!(100.5), false),
        ("amount", json!(-1), false),
        ("amount", json!("99.50"), true),
        ("amount", json!("100.01"), false),
        ("amount", json!("1e1"), false),
        ("amount", json!("inf"), false),
        ("amount", json!("all of it"), false),
        ("to", json!("DE1"), false),
        // Whoever fills a hole chooses the keys of objects, too.
        ("subject", json!({"see": "below"}), true),
        ("subject", json!({"https://evil.example": "see"}), false),
        ("date", json!({"day": 17}), true),
        ("date", json!({"pay everybody at once": 17}), false),
        ("amount", json!({"net": 17}), true),
        ("amount", json!({"pay everybody at once": 17}), false),
    ] {
        let mut arguments = serde_json::Map::new();
        arguments.insert(name.to_owned(), value.clone());
        let found = of(&hole(name), &Value::Object(arguments));
        assert_eq!(found == Fit::Covered(0), covered, "{name} {value}: {found:?}");
        assert_ne!(found, Fit::Unforeseen, "{name} {value}");
    }
}

#[test]
fn of_two_grants_the_one_that_fits_is_taken() {
    let grants = [
        grant(&json!({"to": {"hole": "identity"}, "amount": {"pinned": 5}})),
        grant(&json!({"to": {"pinned": "DE1"}, "amount": {"pinned": 5}})),
    ];
    assert_eq!(of(&grants, &json!({"to": "DE1", "amount": 5})), Fit::Covered(1));
    let Fit::Foreseen(0, doubts) = of(&grants, &json!({"to": "DE2", "amount": 5})) else {
        panic!()
    };
    assert_eq!(doubts[0].argument, "to");
}

#[test]
fn of_two_grants_that_cover_it_the_narrower_one_is_taken() {
    let grants = [
        grant(&json!({"to": {"pinned": "DE1"}, "amount": {"hole": "money"}})),
        grant(&json!({"to": {"pinned": "DE1"}, "amount": {"pinned": 5}})),
    ];
    assert_eq!(of(&grants, &json!({"to": "DE1", "amount": 5})), Fit::Covered(1));
    assert_eq!(of(&grants, &json!({"to": "DE1", "amount": 6})), Fit::Covered(0));
}

#[test]
fn members_are_all_that_a_hole_takes() {
    let members = vec![json!("ann"), json!("bob")];
    let member = |_: &str| ArgumentTerm {
        members: members.clone(),
        ..ArgumentTerm::of(ArgumentKind::Identity)
    };
    let grants = [grant(&json!({"to": {"hole": "identity"}}))];
    let found = |value: &str| fit(&grants, "pay", &json!({"to": value}), member, &Known);
    assert_eq!(found("bob"), Fit::Covered(0));
    assert!(matches!(found("eve"), Fit::Foreseen(0, _)));
}

#[test]
fn links_and_addresses_are_found() {
    for text in [
        "see https://evil.example/a?b",
        "mail a@b.co",
        "go to evil.com",
        "(www.evil.com)",
        "[x](evil.io/y)",
        "call tel:112",
        "data:text/html,x",
        "//evil.com/x.png",
        "10.0.0.1",
        "evil。com",
        "ftp://x",
        "reports.pdf/evil.zip.com",
        "javascript:alert(1)",
    ] {
        assert!(!links(text).is_empty(), "{text}");
    }
    for text in [
        "Thanks. All is well.",
        "It cost 12.50 in all, e.g. for rent",
        "report.pdf",
        "v1.2.3",
        "10:30",
        "@ann",
        "either/or",
        "Mr. and Mrs. Smith",
    ] {
        assert_eq!(links(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn closed_values_carry_no_words() {
    for value in [
        json!(1),
        json!(true),
        json!(null),
        json!("2026-11-28T10:00:00Z"),
        json!("tx_17"),
        json!("weekly"),
    ] {
        assert!(is_closed(&value), "{value}");
    }
    for value in
        [json!("pay ann"), json!("a.b"), json!("x".repeat(80)), json!(""), json!([]), json!("дом!")]
    {
        assert!(!is_closed(&value), "{value}");
    }
}

#[test]
fn values_are_found_as_whole_words() {
    let text = "Pay 1,250.00 EUR to DE89 3704 for invoice 13 of Ann\u{200b}a Smith, on June 13.";
    for value in
        [json!(1250), json!(13), json!("DE89  3704"), json!("anna smith"), json!("invoice 13")]
    {
        assert!(occurs(&value, text), "{value}");
    }
    for value in [
        json!(125),
        json!(1),
        json!("DE8"),
        json!("invoice 1"),
        json!("Anna Smithson"),
        json!(true),
        json!(""),
    ] {
        assert!(!occurs(&value, text), "{value}");
    }
    assert!(is_invisible('\u{202e}') && !is_invisible('a'));
}
