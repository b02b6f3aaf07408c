//! The bank over its wire: honest about what it booked, and unmoved by nonsense.

use rmcp::RoleClient;
use rmcp::service::RunningService;
use serde_json::json;
use tokio::task::JoinHandle;

use super::super::ledger::read;
use super::*;

const IBAN: &str = "DE89370400440532013000";

/// A bank and somebody who talks to it.
struct Talk {
    folder: tempfile::TempDir,
    client: RunningService<RoleClient, ()>,
    bank: JoinHandle<Result<(), BankError>>,
}

impl Talk {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (client, bank) = connect(&folder.path().join("ledger.jsonl")).await;
        Self { folder, client, bank }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.jsonl")
    }

    async fn call(&self, tool: &'static str, arguments: Value) -> Result<Value, String> {
        call(&self.client, tool, arguments).await
    }
}

async fn connect(
    ledger: &Path,
) -> (RunningService<RoleClient, ()>, JoinHandle<Result<(), BankError>>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (input, output) = tokio::io::split(theirs);
    let ledger = ledger.to_owned();
    let bank = tokio::spawn(async move { serve_on(&ledger, input, output).await });
    (().serve(ours).await.unwrap(), bank)
}

async fn call(
    client: &RunningService<RoleClient, ()>,
    tool: &'static str,
    arguments: Value,
) -> Result<Value, String> {
    let arguments = arguments.as_object().unwrap().clone();
    let request = CallToolRequestParams::new(tool).with_arguments(arguments);
    let result = client.call_tool(request).await.map_err(|error| error.to_string())?;
    match result.structured_content {
        Some(value) => Ok(value),
        None => Err(result.content[0].as_text().unwrap().text.clone()),
    }
}

fn payment(reference: &str, amount: &str) -> Value {
    json!({
        "reference": reference, "recipient": "Harbour Paper", "iban": IBAN, "amount": amount,
        "currency": "EUR",
    })
}

#[tokio::test]
async fn two_calls_are_two_payments_and_the_ledger_tells() {
    let talk = Talk::new().await;
    let nothing = talk.call("find_payment", json!({"reference": "A-1"})).await.unwrap();
    assert_eq!(nothing, json!({"found": false, "payments": []}));
    let first = talk.call("pay", payment("A-1", "12.50")).await.unwrap();
    let second = talk.call("pay", payment("A-1", "12.50")).await.unwrap();
    assert_eq!(
        (&first["payment_id"], &second["payment_id"]),
        (&json!("PAY-A-1-1"), &json!("PAY-A-1-2"))
    );
    let found = talk.call("find_payment", json!({"reference": "A-1"})).await.unwrap();
    assert_eq!(found, json!({"found": true, "payments": [first, second]}));
    let balance = talk.call("balance", json!({})).await.unwrap();
    assert_eq!(balance, json!({"balance": "24975.00", "currency": "EUR", "payments": 2}));
    assert_eq!(read(&talk.path()).unwrap().len(), 2);
}

#[tokio::test]
async fn what_the_bank_refuses_is_named_and_not_booked() {
    let talk = Talk::new().await;
    let with = |key: &str, value: Value| {
        let mut arguments = payment("A-1", "1.00");
        arguments[key] = value;
        arguments
    };
    for (arguments, kind) in [
        (json!({}), "invalid_arguments"),
        (with("amount", json!(12.5)), "invalid_arguments"),
        (with("amount", json!("-1.00")), "invalid_arguments"),
        (with("amount", json!("0.00")), "invalid_arguments"),
        (with("reference", json!("")), "invalid_arguments"),
        (with("reference", json!("x".repeat(1_000_000))), "invalid_arguments"),
        (with("recipient", json!("a\nb")), "invalid_arguments"),
        (with("memo", json!("unknown")), "invalid_arguments"),
        (with("iban", json!("DE88370400440532013000")), "unknown_account"),
        (with("iban", json!("ÄÖÜ")), "unknown_account"),
        (with("currency", json!("USD")), "wrong_currency"),
        (with("amount", json!("25000.01")), "insufficient_funds"),
        (with("amount", json!("999999999.99")), "insufficient_funds"),
    ] {
        let shown = arguments.to_string().chars().take(200).collect::<String>();
        let refused = talk.call("pay", arguments).await.unwrap_err();
        assert!(refused.starts_with(&format!("{kind}: ")), "{shown}: {refused}");
    }
    let unknown = talk.call("steal", json!({})).await.unwrap_err();
    assert!(unknown.contains("no tool"), "{unknown}");
    assert_eq!(read(&talk.path()).unwrap(), []);
    talk.call("pay", payment("A-1", "25000.00")).await.unwrap();
}

#[tokio::test]
async fn its_schemas_fit_what_it_takes_and_returns() {
    let talk = Talk::new().await;
    let tools = talk.client.list_all_tools().await.unwrap();
    let schema = |name: &str| {
        let tool = tools.iter().find(|tool| tool.name == name).unwrap();
        let output = Value::Object(tool.output_schema.as_ref().unwrap().as_ref().clone());
        (tool.schema_as_json_value(), output)
    };
    for (name, arguments) in [
        ("pay", payment("A-1", "12.50")),
        ("find_payment", json!({"reference": "A-1"})),
        ("balance", json!({})),
    ] {
        let (input, output) = schema(name);
        assert_eq!(prusik_core::schema::mismatches(&input, &arguments), [], "{name}");
        let result = talk.call(name, arguments).await.unwrap();
        assert_eq!(prusik_core::schema::mismatches(&output, &result), [], "{name}");
    }
    let (input, _) = schema("pay");
    let wrong = json!({"reference": "", "iban": "x", "amount": 1, "currency": "eur", "memo": ""});
    let found: Vec<String> = prusik_core::schema::mismatches(&input, &wrong)
        .into_iter()
        .map(|mismatch| mismatch.schema_at)
        .collect();
    assert_eq!(found.len(), 6, "{found:?}");
}

#[tokio::test]
async fn a_slow_answer_comes_after_the_booking_and_ends_with_the_client() {
    let talk = Talk::new().await;
    let path = talk.path();
    std::fs::write(stall_file(&path), "A-2\n").unwrap();
    talk.call("pay", payment("A-1", "1.00")).await.unwrap();
    let slow = talk.call("pay", payment("A-2", "2.00"));
    tokio::select! {
        answer = slow => panic!("answered: {answer:?}"),
        () = until(|| stalled_file(&path).exists()) => {}
    }
    assert_eq!(read(&path).unwrap().len(), 2, "booked before anything else");
    assert!(!stall_file(&path).exists(), "slow only once");

    // The next bank cannot say anything while the slow one lives.
    let (next, _bank) = connect(&path).await;
    let question = call(&next, "find_payment", json!({"reference": "A-2"}));
    let Talk { client, bank, folder: _folder } = talk;
    let hang_up = async {
        drop(client);
        bank.await.unwrap().unwrap();
    };
    let (found, ()) = tokio::join!(question, hang_up);
    assert_eq!(found.unwrap()["found"], true);
}

async fn until(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it holds in time");
}
