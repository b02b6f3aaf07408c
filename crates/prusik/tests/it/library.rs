//! Programs that use the library: the examples, killed ones among them, and what a program can do.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use prusik::{Agent, Contract, EffectClass, McpServer, Model, Prusik};

use crate::prusik::said;

/// Names the folder that the child process of a test works in.
const FOLDER: &str = "PRUSIK_TEST_CHILD_FOLDER";

/// Returns an example that cargo has built with these tests.
fn example(name: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_prusik")).with_file_name("examples").join(name);
    assert!(built.exists(), "cargo builds examples with the tests; {} is missing", built.display());
    built
}

fn payments(folder: &Path, crash: Option<&str>) -> Output {
    let mut command = Command::new(example("payments"));
    command.arg(folder).env_remove("PRUSIK_CRASH");
    command.envs(crash.map(|crash| ("PRUSIK_CRASH", crash))).output().unwrap()
}

fn ledger(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("ledger.jsonl")).unwrap().lines().count()
}

#[test]
fn the_program_of_the_first_page_runs() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(example("first")).current_dir(folder.path()).output().unwrap();
    assert_eq!(said(&output), "It is 21.5 degrees in Bern.\n");
    assert!(folder.path().join("runs.db").exists());
}

#[test]
fn a_program_that_is_killed_at_any_append_goes_on_and_pays_once() {
    let folder = tempfile::tempdir().unwrap();
    let undisturbed = payments(folder.path(), None);
    assert!(undisturbed.status.success(), "{}", said(&undisturbed));
    assert!(said(&undisturbed).ends_with("paid: payment 1\n"), "{}", said(&undisturbed));
    assert_eq!(ledger(folder.path()), 1);
    let mut killed = 0;
    for append in 1.. {
        let mut reached = false;
        for point in [format!("before:{append}"), format!("after:{append}")] {
            let folder = tempfile::tempdir().unwrap();
            let first = payments(folder.path(), Some(&point));
            if first.status.success() {
                continue;
            }
            (reached, killed) = (true, killed + 1);
            let again = payments(folder.path(), None);
            assert!(said(&again).ends_with("paid: payment 1\n"), "{point}: {}", said(&again));
            assert_eq!(ledger(folder.path()), 1, "{point}");
        }
        if !reached {
            break;
        }
    }
    assert!(killed >= 10, "only {killed} points were reached");
}

/// Why nothing was booked.
#[derive(Debug, thiserror::Error, prusik::Failure)]
enum BookError {
    #[failure(uncertain)]
    #[error("the ledger cannot be written: {0}")]
    Ledger(#[from] std::io::Error),
}

/// Whether there is something.
#[derive(serde::Serialize, schemars::JsonSchema)]
struct Booked {
    /// Whether it is there.
    booked: bool,
}

type Result<T> = std::result::Result<T, BookError>;

/// Books something, and is killed in the middle the first time.
#[prusik::tool(
    effect = "write",
    probe(tool = "look", landed = "result.booked", result = "{'booked': true}", wait_ms = 0)
)]
async fn book(#[state] folder: &Path) -> Result<Booked> {
    std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("ledger.jsonl"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"booked\n"))?;
    if std::env::var_os(FOLDER).is_some() {
        let this = rustix::process::getpid();
        let _ = rustix::process::kill_process(this, rustix::process::Signal::KILL);
        std::future::pending::<()>().await;
    }
    Ok(Booked { booked: true })
}

/// Says whether something is booked.
#[prusik::tool(effect = "read")]
async fn look(#[state] folder: &Path) -> Result<Booked> {
    Ok(Booked { booked: folder.join("ledger.jsonl").exists() })
}

fn bookkeeper(folder: &Path) -> Prusik {
    let folder: std::sync::Arc<Path> = folder.into();
    let script = "turns: [{ call: [{ tool: book }] }, { say: '=results[0].text' }]";
    let agent = Agent::builder("bookkeeper")
        .prompt("You book.")
        .model(Model::script(script).unwrap())
        .tool(book(folder.clone()))
        .hidden_tool(look(folder.clone()));
    Prusik::open(folder.join("runs.db")).unwrap().with(agent.build().unwrap())
}

/// Does nothing but where the test below starts it as a process of its own.
#[tokio::test]
async fn a_child_that_dies() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let run = bookkeeper(Path::new(&folder)).start("bookkeeper", "Book it.").await.unwrap();
    run.drive().await.unwrap();
}

#[tokio::test]
async fn a_program_that_is_killed_in_the_middle_of_a_write_asks_and_does_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "library::a_child_that_dies"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), None, "it was to be killed: {}", said(&output));
    let prusik = bookkeeper(folder.path());
    let mut runs = prusik.resume_unfinished().await.unwrap();
    assert_eq!(runs.len(), 1);
    let done = runs.remove(0).1.unwrap().drive().await.unwrap();
    assert!(done.is_success(), "{:?}", done.status());
    assert_eq!(done.answer(), Some("{\"booked\":true}"));
    let probed = prusik.events(done.id()).await.unwrap();
    let probed = probed.iter().any(|fact| matches!(fact.event, prusik::Event::CallProbed(_)));
    assert!(probed, "nobody asked whether the call had landed");
    assert_eq!(ledger(folder.path()), 1);
}

/// A call that goes on while its driver is dropped lands before anybody asks whether it has.
#[tokio::test]
async fn a_run_whose_driver_is_dropped_in_the_middle_of_a_call_pays_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("slow"), "0.5").unwrap();
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/ledger.py");
    let script = "turns: [{ call: [{ tool: s__pay, arguments: { name: Ann } }] }, { say: done }]";
    let probe = prusik::json!({
        "tool": "s__find", "arguments": {"name": "=args.name"}, "landed": "result.found",
        "result": "{'name': args.name}", "wait_ms": 0,
    });
    let probe = serde_json::from_value(probe).unwrap();
    let pay = Contract { probe: Some(probe), ..Contract::of(EffectClass::Write) };
    let agent = Agent::builder("main")
        .prompt("You pay.")
        .model(Model::script(script).unwrap())
        .server(McpServer::stdio("s", "python3", [server, "ledger.jsonl"]).cwd(folder))
        .hold("s__pay")
        .contract("s__pay", pay)
        .contract("s__find", Contract::of(EffectClass::Read));
    let prusik = Prusik::open(folder.join("runs.db")).unwrap().with(agent.build().unwrap());
    let run = prusik.start(None, "Pay.").await.unwrap();
    let id = run.id().clone();
    let ms = std::time::Duration::from_millis;
    let begun = async {
        while !folder.join("begun").exists() {
            tokio::time::sleep(ms(5)).await;
        }
    };
    tokio::select! {
        () = begun => {}
        _ = run.drive() => panic!("it was to be dropped"),
    }
    let mut refused = 0;
    let again = loop {
        match prusik.resume(&id).await {
            Ok(run) => break run,
            Err(error) if error.is_leased() => refused += 1,
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(ms(10)).await;
    };
    let done = again.drive().await.unwrap();
    assert!(done.is_success(), "{:?}", done.status());
    assert!(refused > 0, "it was taken while its server ran");
    assert_eq!(ledger(folder), 1);
}

#[tokio::test]
async fn an_agent_holds_tools_of_a_server_and_built_in_ones() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/ledger.py");
    let ledger = folder.path().join("ledger.jsonl").display().to_string();
    let script = "
turns:
  - call: [{ tool: s__put, arguments: { name: a } }, { tool: write, arguments: { path: b.txt, content: b } }]
  - say: done
";
    let builder = Agent::builder("main")
        .prompt("You do as you are told.")
        .model(Model::script(script).unwrap())
        .server(McpServer::stdio("s", "python3", [server, &ledger]))
        .files(&files);
    let key = prusik::contract::KeyPlace::Argument("key".to_owned());
    let put = Contract { key: Some(key), ..Contract::of(EffectClass::Idempotent) };
    let agent = builder.clone().hold("s__put").hold("write").contract("s__put", put);
    let prusik = Prusik::open(folder.path().join("runs.db")).unwrap().with(agent.build().unwrap());
    let done = prusik.start(None, "Do it.").await.unwrap().drive().await.unwrap();
    assert!(done.is_success(), "{:?}", done.status());
    assert_eq!(std::fs::read_to_string(files.join("b.txt")).unwrap(), "b");
    assert_eq!(std::fs::read_to_string(&ledger).unwrap().lines().count(), 1);

    let mistaken = builder.hold("s__putt").build().unwrap();
    let error = prusik.with(mistaken).start(None, "Do it.").await.err().unwrap().to_string();
    assert!(error.contains("`s__putt`: did you mean `s__put`?"), "{error}");
}
