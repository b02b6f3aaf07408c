//! Policies and what comes of them.

use prusik_core::agent::{Agent, Containment, Tool};
use prusik_core::contract::{Contract, EffectClass};
use prusik_core::grant::{ArgumentKind, ArgumentTerm};
use prusik_core::label::Label;
use prusik_core::policy::{Concern, Policy as _, Question, Verdict};
use serde_json::{Value, json};

use crate::{Enforced, Finding, Policies, PolicyFile, TEXT_BYTES_MAX, Vocabulary};

fn tool(name: &str, effect: EffectClass, schema: Value) -> Tool {
    Tool {
        name: name.to_owned(),
        description: format!("Does {name}."),
        input_schema: schema,
        output_schema: None,
        contract: Contract::of(effect),
        shown: true,
    }
}

/// A bank's clerk: `amount` is required, `reference` may be left out, `urgent` is whatever it is.
fn agent() -> Agent {
    let pay = json!({
        "type": "object",
        "properties": {
            "amount": {"type": "number"},
            "iban": {"type": "string"},
            "reference": {"type": ["string", "null"]},
            "fee": {"type": "number"},
            "urgent": {},
            "tags": {"type": "array", "items": {"type": "string"}},
            "payer": {"$ref": "#/$defs/party"},
        },
        "required": ["amount", "iban", "urgent"],
        "$defs": {"party": {"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}}},
    });
    let read =
        json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]});
    let agent = json!({
        "name": "clerk", "system": "", "tools": [],
        "model": {"alias": "default", "model": "m", "max_tokens": 100},
        "limits": {"repeats_max": 3, "continues_max": 3, "repairs_max": 2, "malformed_turns_max": 3},
    });
    let agent: Agent = serde_json::from_value(agent).unwrap();
    let tools =
        vec![tool("bank__pay", EffectClass::Write, pay), tool("read", EffectClass::Read, read)];
    Agent { tools, ..agent }
}

fn vocabulary(agent: &Agent) -> Vocabulary {
    Vocabulary::new([agent.name.clone()], &agent.tools)
}

fn parse(text: &str) -> Result<Policies, Vec<Finding>> {
    Policies::parse([PolicyFile { name: "policy/a.cedar".to_owned(), text: text.to_owned() }])
}

fn enforced(text: &str) -> Enforced {
    let policies = parse(text).unwrap_or_else(|found| panic!("{found:#?}"));
    let agent = agent();
    policies.enforced(&agent, &vocabulary(&agent)).unwrap_or_else(|found| panic!("{found:#?}"))
}

/// Everything that is wrong with a policy, as people are told it.
fn wrong(text: &str) -> Vec<String> {
    let told = |found: Vec<Finding>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
    match parse(text) {
        Ok(policies) => told(policies.check(&vocabulary(&agent()))),
        Err(found) => told(found),
    }
}

fn judge_as(
    enforced: &Enforced,
    agent: &Agent,
    tool: &str,
    args: &Value,
    label: &Label,
) -> Verdict {
    let tool = agent.tool(tool).unwrap();
    enforced.judge(&Question { agent, tool, arguments: args, label, planned: false })
}

fn judge(text: &str, args: &Value) -> Verdict {
    judge_as(&enforced(text), &agent(), "bank__pay", args, &Label::trusted())
}

/// The rule that denies, or what else comes of it.
fn rule(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Allow => "allowed",
        Verdict::Ask(_) => "asked",
        Verdict::Deny { rule, .. } => rule,
    }
}

fn pay(amount: impl Into<Value>) -> Value {
    json!({"amount": amount.into(), "iban": "DE1", "urgent": 1})
}

const LIMIT: &str = r#"
@id("limit")
@tell("Not above 500: ask the owner.")
forbid (principal, action == Action::"bank__pay", resource)
when { context.args.amount.greaterThan(decimal("500.0")) };
"#;

#[test]
fn a_forbid_denies_with_its_name_and_its_words() {
    assert_eq!(judge(LIMIT, &pay(json!(500))), Verdict::Allow);
    let denied = Verdict::Deny {
        rule: "limit".to_owned(),
        message: "Not above 500: ask the owner.".to_owned(),
    };
    assert_eq!(judge(LIMIT, &pay(json!(500.01))), denied);
    let read =
        judge_as(&enforced(LIMIT), &agent(), "read", &json!({"path": "x"}), &Label::trusted());
    assert_eq!(read, Verdict::Allow);
}

#[test]
fn an_ask_asks_and_a_denial_comes_before_it() {
    let ask = r#"@id("any") @ask("is it meant?") forbid (principal, action == Action::"bank__pay", resource);"#;
    let concern = Concern { rule: "any".to_owned(), why: "is it meant?".to_owned() };
    assert_eq!(judge(ask, &pay(json!(1))), Verdict::Ask(vec![concern]));
    let both = format!("{ask}\n{LIMIT}");
    assert_eq!(rule(&judge(&both, &pay(json!(501)))), "limit");
    assert_eq!(rule(&judge(&both, &pay(json!(1)))), "asked");
    let twice = format!("{ask}\n@ask forbid (principal == Agent::\"clerk\", action, resource);");
    let Verdict::Ask(concerns) = judge(&twice, &pay(json!(1))) else { panic!("it asks") };
    let rules: Vec<&str> = concerns.iter().map(|of| of.rule.as_str()).collect();
    assert_eq!(rules, ["any", "policy/a.cedar:2"]);
}

#[test]
fn what_has_been_read_decides_too() {
    let text = r#"@id("web") forbid (principal, action, resource)
        when { context.tainted && context.sources.contains("web__fetch") && context.effect == "write" };"#;
    let enforced = enforced(text);
    let of = |label: Label| {
        rule(&judge_as(&enforced, &agent(), "bank__pay", &pay(json!(1)), &label)).to_owned()
    };
    assert_eq!(of(Label::trusted()), "allowed");
    assert_eq!(of(Label::of("mail__list")), "allowed");
    assert_eq!(of(Label::of("web__fetch")), "web");
    let read =
        judge_as(&enforced, &agent(), "read", &json!({"path": ""}), &Label::of("web__fetch"));
    assert_eq!(read, Verdict::Allow);
}

#[test]
fn agents_and_servers_can_be_told_apart() {
    let text = r#"@id("uncontained") forbid (principal == Agent::"clerk", action, resource == Server::"bank")
        unless { context.contained };"#;
    let enforced = enforced(text);
    let contained = Agent { containment: Some(Containment::default()), ..agent() };
    let other = Agent { name: "other".to_owned(), ..agent() };
    for (agent, said) in [(agent(), "uncontained"), (contained, "allowed"), (other, "allowed")] {
        let verdict = judge_as(&enforced, &agent, "bank__pay", &pay(json!(1)), &Label::trusted());
        assert_eq!(rule(&verdict), said, "{}", agent.name);
    }
    let read = judge_as(&enforced, &agent(), "read", &json!({"path": ""}), &Label::trusted());
    assert_eq!(read, Verdict::Allow);
}

/// An amount that no decimal holds is not as if there were none, wherever it stands and however the
/// policy is written.
#[test]
fn what_cannot_be_put_into_cedars_terms_denies() {
    let careful = r#"@id("fee") forbid (principal, action == Action::"bank__pay", resource)
        when { context.args has fee && context.args.fee.greaterThan(decimal("5.0")) };"#;
    let with_fee = |fee: Value| {
        let mut args = pay(json!(1));
        args["fee"] = fee;
        args
    };
    for (fee, said) in [
        (json!(1), "allowed"),
        (json!(null), "allowed"),
        (json!(6), "fee"),
        (json!(1e300), "fee"),
        (json!(0.00001), "fee"),
        (json!("6"), "fee"),
    ] {
        let verdict = judge(careful, &with_fee(fee.clone()));
        assert_eq!(rule(&verdict), said, "{fee}");
    }
    let Verdict::Deny { message, .. } = judge(careful, &with_fee(json!(1e300))) else { panic!() };
    assert!(message.contains("`fee`") && message.len() < 800, "{message}");
    assert_eq!(rule(&judge(LIMIT, &pay(json!(1e300)))), "limit");
    assert_eq!(rule(&judge(LIMIT, &json!({"iban": "DE1"}))), "limit", "it is not there at all");
    // What no policy looks at is nobody's concern.
    assert_eq!(judge(LIMIT, &with_fee(json!(1e300))), Verdict::Allow);
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    let reference = r#"@id("secret") forbid (principal, action == Action::"bank__pay", resource)
        when { context.args has reference && context.args.reference like "*secret*" };"#;
    let of = |text: &str| {
        let mut args = pay(json!(1));
        args["reference"] = json!(text);
        rule(&judge(reference, &args)).to_owned()
    };
    assert_eq!([of("a secret"), of("none"), of(&long)], ["secret", "allowed", "secret"]);
    assert_eq!(judge(LIMIT, &json!({"amount": 1, "iban": long})), Verdict::Allow);
}

/// Money that is written as text is compared as a number if the contract calls it money.
#[test]
fn money_as_text_is_a_number() {
    let mut agent = agent();
    let pay = &mut agent.tools[0];
    pay.input_schema["properties"]["amount"] = json!({"type": "string"});
    pay.contract.arguments.insert("amount".to_owned(), ArgumentTerm::of(ArgumentKind::Money));
    let enforced = parse(LIMIT).unwrap().enforced(&agent, &vocabulary(&agent)).unwrap();
    for (amount, said) in [
        ("500.00", "allowed"),
        ("500.01", "limit"),
        ("1000", "limit"),
        ("1.000,00", "limit"),
        ("1e9", "limit"),
        ("", "limit"),
    ] {
        let args = self::pay(json!(amount));
        let verdict = judge_as(&enforced, &agent, "bank__pay", &args, &Label::trusted());
        assert_eq!(rule(&verdict), said, "{amount}");
    }
}

#[test]
fn sets_and_records_are_looked_into() {
    let text = r#"@id("tags") forbid (principal, action == Action::"bank__pay", resource)
        when { context.args has tags && context.args.tags.contains("private") };
        @id("payer") forbid (principal, action == Action::"bank__pay", resource)
        when { context.args has payer && context.args.payer has n && context.args.payer.n > 3 };"#;
    let with = |name: &str, value: Value| {
        let mut args = pay(json!(1));
        args[name] = value;
        rule(&judge(text, &args)).to_owned()
    };
    assert_eq!(with("tags", json!(["a", "private"])), "tags");
    assert_eq!(with("tags", json!(["a"])), "allowed");
    assert_eq!(with("tags", json!(vec!["a"; 30_000])), "tags", "too many to look at");
    assert_eq!(with("payer", json!({"n": 4})), "payer");
    assert_eq!(with("payer", json!({"name": "x"})), "allowed");
    assert_eq!(with("payer", json!({"n": 1e40})), "payer");
}

/// One policy that fails denies, whatever the others say.
#[test]
fn an_evaluation_error_denies() {
    let text = r#"@id("sum") forbid (principal, action == Action::"bank__pay", resource)
        when { context.args has payer && context.args.payer has n && context.args.payer.n * 2 > 10 };
        @id("ask") @ask forbid (principal, action == Action::"bank__pay", resource);"#;
    let with = |n: i64| {
        let mut args = pay(json!(1));
        args["payer"] = json!({"n": n});
        judge(text, &args)
    };
    assert_eq!(rule(&with(3)), "asked");
    let Verdict::Deny { rule, message } = with(i64::MAX) else { panic!("it denies") };
    assert_eq!(rule, "sum");
    assert!(message.contains("overflow"), "{message}");
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_the_way_out() {
    let mut missed = Vec::new();
    for (text, said) in [
        (
            "\n  forbid (principal, action, resource) when { context.tainted };;",
            "policy/a.cedar:2:65: unexpected token `;`",
        ),
        ("forbid (principal, action, resource)", "policy/a.cedar:1:37: unexpected end of input"),
        ("\npermit (principal, action, resource);", "policy/a.cedar:2:1: a policy can only narrow"),
        (
            "forbid (principal, action ==\n Action::\"bank__pya\", resource);",
            "policy/a.cedar:2:2: there is no tool `bank__pya`\n  help: did you mean `bank__pay`?",
        ),
        (
            "forbid (principal, action == Action::\"b\u{430}nk__pay\", resource);",
            "policy/a.cedar:1:30: there is no tool `b\\u{430}nk__pay`\n  help: did you mean `bank__pay`, \
             in plain letters?",
        ),
        ("forbid (principal == Agent::\"clrk\", action, resource);", "did you mean `clerk`?"),
        ("forbid (principal, action, resource == Server::\"bnk\");", "did you mean `bank`?"),
        ("forbid (principal == User::\"ann\", action, resource);", "nothing of the type `User`"),
        (
            "forbid (principal, action == Action::\"bank__pay\", resource)\n\
             when { context.args.amuont == decimal(\"1.0\") };",
            "policy/a.cedar:2:8: attribute `args.amuont` in context for Action::\"bank__pay\" not found\n  \
             help: did you mean `amount`?",
        ),
        (
            "forbid (principal, action == Action::\"bank__pay\", resource)\n\
             when { context.args.fee == decimal(\"1.0\") };",
            "say `context.args has …",
        ),
        (
            "forbid (principal, action == Action::\"bank__pay\", resource) when { context.args.amount > 5 };",
            "policy/a.cedar:1:68: unexpected type: expected Long but saw decimal\n  help: a number with places",
        ),
        (
            "forbid (principal, action == Action::\"bank__pay\", resource) when { false };",
            "it can never apply",
        ),
        (
            "forbid (principal, action == Action::\"bank__pay\", resource == Server::\"(built-in)\");",
            "it can never apply",
        ),
        ("@id(\"\") forbid (principal, action, resource);", "cannot be the name of a policy"),
        ("@id(\"a\u{202e}b\") forbid (principal, action, resource);", "a\\u{202e}b"),
        ("@ask @tell(\"x\") forbid (principal, action, resource);", "leave one of them out"),
        ("forbid (principal == ?principal, action, resource);", "help: write the policy out"),
        (
            "@id(\"a\") forbid (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource);",
            "policy/a.cedar:2:1: `a` is what policy/a.cedar:1 is called, too",
        ),
        ("forbid (principal, action, resource) when { context.nope };", "not found"),
    ] {
        let found = wrong(text);
        if !found.iter().any(|found| found.contains(said)) {
            missed.push((text, said, found));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    assert_eq!(wrong(LIMIT), [""; 0]);
    assert_eq!(wrong("// nothing\n"), [""; 0]);
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let found = wrong(
        "permit (principal, action, resource);\nforbid (;\nforbid (principal, action, resource) when { 1 };",
    );
    assert_eq!(found.len(), 2, "{found:#?}");
}

/// A tool that another agent holds, or that a server has which was not asked, is no mistake.
#[test]
fn policies_of_tools_elsewhere_are_left_alone() {
    let text = r#"forbid (principal, action == Action::"mail__send", resource) when { context.args.to == "x" };
        forbid (principal, action == Action::"crm__drop", resource);"#;
    let policies = parse(text).unwrap();
    let known = vocabulary(&agent()).with_others(["mail__send".to_owned()]);
    assert_eq!(policies.check(&known).len(), 1);
    assert_eq!(policies.check(&known.with_unheard(["crm".to_owned()])), []);
}

#[test]
fn the_schema_reads_back_and_says_what_is_not_in_it() {
    let vocabulary = vocabulary(&agent());
    let text = vocabulary.schema_text().unwrap();
    assert!(
        text.contains("// bank__pay: args.urgent is not here: its schema says nothing"),
        "{text}"
    );
    assert!(text.contains("amount: __cedar::decimal"), "{text}");
    let (_, warnings) = cedar_policy::SchemaFragment::from_cedarschema_str(&text).unwrap();
    assert_eq!(warnings.count(), 0);
    assert_eq!(vocabulary.notes().len(), 1);
}

#[test]
fn hostile_schemas_neither_break_the_schema_nor_hang() {
    let deep = (0..200).fold(
        json!({"type": "string"}),
        |inner, _| json!({"type": "object", "properties": {"x": inner}}),
    );
    let many: serde_json::Map<String, Value> =
        (0..5_000).map(|i| (format!("p{i}"), json!({"type": "string"}))).collect();
    let tools = [
        ("a", json!({"type": "object", "properties": {"loop": {"$ref": "#/properties/loop"}}})),
        ("b", json!({"$ref": "#"})),
        ("c", deep),
        ("d", json!({"properties": many})),
        (
            "e",
            json!({"properties": {
                "__cedar::Long": {"type": "string"}, "\"\n//": {"type": "integer"}, "": {"const": 1},
            }}),
        ),
        (
            "f\"::x",
            json!({"properties": {"x": {"enum": []}, "y": {"anyOf": []}, "z": {"type": "array"}}}),
        ),
        ("g", json!(true)),
        ("h", json!({"properties": {"x": {"allOf": [{"type": "string"}, {"maxLength": 3}]}}})),
    ];
    let all =
        Vocabulary::new([], &tools.map(|(name, schema)| tool(name, EffectClass::Read, schema)));
    let text = all.schema_text().unwrap();
    assert!(cedar_policy::SchemaFragment::from_cedarschema_str(&text).is_ok(), "{text}");
    let policies = parse("forbid (principal, action, resource) when { context.tainted };").unwrap();
    assert_eq!(policies.check(&all), []);
}

#[test]
fn digests_tell_policies_apart() {
    let (one, other) = (parse(LIMIT).unwrap(), parse("").unwrap());
    assert_ne!(one.digest(), other.digest());
    assert_eq!(one.digest(), parse(LIMIT).unwrap().digest());
    assert!(other.is_empty() && one.len() == 1);
}

#[test]
fn a_thousand_policies_are_one_verdict() {
    let rule_of = |i: usize| {
        format!(
            "@id(\"p{i}\") forbid (principal, action == Action::\"bank__pay\", resource)\n\
             when {{ context.args.iban == \"X{i}\" }};"
        )
    };
    let text: Vec<String> = (0..1_000).map(rule_of).collect();
    let text = text.join("\n");
    let enforced = enforced(&text);
    let of = |iban: &str| {
        let args = json!({"amount": 1, "iban": iban});
        rule(&judge_as(&enforced, &agent(), "bank__pay", &args, &Label::trusted())).to_owned()
    };
    assert_eq!([of("DE1"), of("X999"), of("X0")], ["allowed", "p999", "p0"]);
}
