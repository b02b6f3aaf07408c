//! The story: what happens, act by act, in words for somebody who sees Prusik for the first time.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prusik_core::event::Event;
use prusik_core::ids::CallId;
use prusik_core::message::ToolInput;
use prusik_core::run::calls_of;
use serde::Deserialize;

use super::child::{Child, Ended};
use super::files::{DEMANDED_IBAN, HOSTILE, INTERRUPTED, Invoice, invoices};
use super::ledger::{Ledger, LedgerError, Payment, read};
use super::{DemoError, bank};
use crate::cli::live::put;
use crate::cli::text::{Paint, printable};

const TASK: &str = "Pay all open invoices";
const LEDGER: &str = "ledger.jsonl";
/// How long a person at a terminal has to read: after a line that streams by, and after an act.
const LINE_PAUSE: Duration = Duration::from_millis(45);
const ACT_PAUSE: Duration = Duration::from_millis(1_200);
/// How long the bank may take to end after the kill, and how often that is looked at.
const BANK_END: Duration = Duration::from_secs(15);
const BANK_LOOK: Duration = Duration::from_millis(10);

/// Tells the story of the project in `folder`.
pub async fn tell(folder: &Path) -> Result<(), DemoError> {
    let teller = Teller::new(folder);
    teller.project().await;
    teller.run_and_kill().await?;
    teller.evidence().await?;
    teller.resume().await?;
    teller.count().await?;
    teller.verify().await?;
    teller.next();
    Ok(())
}

struct Teller {
    folder: PathBuf,
    paint: Paint,
    /// Whether a person reads along.
    reader: Reader,
    /// What a person types to start this program.
    program: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Person,
    Program,
}

impl Teller {
    fn new(folder: &Path) -> Self {
        let reader = if std::io::stdout().is_terminal() { Reader::Person } else { Reader::Program };
        // A binary that was started by its path is not found by its name.
        let typed = std::env::args_os().next().map(|name| name.to_string_lossy().into_owned());
        let path = typed.filter(|name| name.contains(std::path::MAIN_SEPARATOR));
        let program = path.unwrap_or_else(|| "prusik".to_owned());
        Self { folder: folder.to_owned(), paint: Paint::for_stdout(), reader, program }
    }

    async fn act(&self, number: u32, title: &str) {
        if number > 1 {
            self.pause(ACT_PAUSE).await;
        }
        put(&format!("\n{}\n", self.paint.bold(&format!("{number}. {title}"))));
    }

    async fn quote(&self, line: &str) {
        put(&format!("   {} {}\n", self.paint.dim("│"), printable(line)));
        self.pause(LINE_PAUSE).await;
    }

    async fn pause(&self, time: Duration) {
        if self.reader == Reader::Person {
            tokio::time::sleep(time).await;
        }
    }

    /// Returns the command line that a person would type for `arguments`.
    fn typed(&self, arguments: &str) -> String {
        format!("{} -C {} {arguments}", self.program, self.folder.display())
    }

    fn prompt(&self, arguments: &str) {
        put(&format!("   {}\n", self.paint.cyan(&format!("$ {}", self.typed(arguments)))));
    }

    fn ledger(&self) -> PathBuf {
        self.folder.join(LEDGER)
    }

    fn broken(&self, problem: impl Into<String>) -> DemoError {
        DemoError::Broken { problem: problem.into(), folder: self.folder.clone() }
    }

    async fn project(&self) {
        self.act(1, "A project").await;
        let folder = self.folder.display();
        say(&format!(
            "The demo made {folder}: a clerk, a bank, and five invoices to pay. All text:\n\n"
        ));
        for (name, what) in [
            ("prusik.yaml", "the bank, what its tools do to the world, ceilings"),
            ("agents/clerk.md", "the agent: its tools, its model, its instructions"),
            ("scripts/clerk.yaml", "the model of this demo is a script: no key, no network"),
            ("workspace/invoices/", "the invoices; INV-1044 holds a trap"),
        ] {
            self.quote(&format!("{name:<20} {what}")).await;
        }
    }

    async fn run_and_kill(&self) -> Result<(), DemoError> {
        self.act(2, "A run, killed at the worst moment").await;
        say(&format!(
            "The bank is a program of its own with a ledger in a file. It has been told to book\n\
             {INTERRUPTED} and then to be slow with its answer: that is when the power fails.\n\n"
        ));
        let ledger = self.ledger();
        let stall = bank::stall_file(&ledger);
        std::fs::write(&stall, INTERRUPTED).map_err(|source| DemoError::Io {
            path: stall,
            action: "written",
            source,
        })?;
        self.prompt(&format!("run \"{TASK}\""));
        let mut child = self.child(&["run", TASK])?;
        let booked = bank::stalled_file(&ledger);
        let ended = child.follow(|| booked.exists(), async |line| self.quote(line).await).await;
        match ended.map_err(|problem| self.broken(problem))? {
            Ended::Stopped => {}
            Ended::Exited(status) => {
                let problem = format!("the run ended ({status}) before {INTERRUPTED} was booked");
                return Err(self.broken(problem));
            }
        }
        let status = child.kill(async |line| self.quote(line).await).await;
        let status = status.map_err(|problem| self.broken(problem))?;
        self.bank_is_gone().await?;
        let _ = std::fs::remove_file(booked);
        put(&format!("   {}\n", self.paint.red(&format!("✗ killed, {status}"))));
        Ok(())
    }

    /// Waits until the bank of the killed run has seen that nobody listens any more.
    async fn bank_is_gone(&self) -> Result<(), DemoError> {
        let wait = async {
            loop {
                match Ledger::hold(&self.ledger()) {
                    Err(LedgerError::Busy { .. }) => tokio::time::sleep(BANK_LOOK).await,
                    held => return held.map(drop),
                }
            }
        };
        match tokio::time::timeout(BANK_END, wait).await {
            Ok(held) => Ok(held?),
            Err(_) => Err(self.broken("the bank of the killed run does not end")),
        }
    }

    async fn evidence(&self) -> Result<(), DemoError> {
        self.act(3, "What is left").await;
        say("No goodbye, no clean-up: SIGKILL. The bank's ledger has the payment:\n\n");
        let booked = read(&self.ledger())?;
        let payment = booked.iter().find(|payment| payment.reference == INTERRUPTED);
        let payment = payment.ok_or_else(|| self.broken("the payment is not in the ledger"))?;
        let line = serde_json::to_string(payment).expect("a payment is text throughout");
        self.quote(&line).await;
        say("\n");
        say("The run's journal has the intent, written before the call, and no outcome:\n\n");
        let open = self.open_calls().await?;
        for (call, what) in &open {
            self.quote(&format!("call {call}  {what}  started, outcome unknown")).await;
        }
        if !open.values().any(|what| what.contains(INTERRUPTED)) {
            return Err(self.broken("the journal knows an outcome that nobody can know"));
        }
        say(
            "\nThe calls after it had not reached the bank yet; from the journal alone nobody can tell.\n\
             To call again would pay twice. To skip it would be a guess. The contract of bank__pay in\n\
             prusik.yaml says what to do instead: it names a probe, the question whether it landed.",
        );
        Ok(())
    }

    /// Returns the calls that the journal knows to have started and not to have ended.
    async fn open_calls(&self) -> Result<BTreeMap<CallId, String>, DemoError> {
        #[derive(Deserialize)]
        struct Line {
            event: Event,
        }
        let mut asked = BTreeMap::new();
        let mut open = BTreeMap::new();
        for line in self.output(&["--json", "events", "last"]).await? {
            let line: Line = serde_json::from_str(&line)
                .map_err(|error| self.broken(format!("the journal cannot be read: {error}")))?;
            match line.event {
                Event::ModelAnswered(answered) => {
                    for (id, call) in calls_of(answered.turn, &answered.content) {
                        let reference = match &call.input {
                            ToolInput::Json(value) => value["reference"].as_str(),
                            ToolInput::Malformed(_) => None,
                        };
                        let what = format!("{} {}", call.name, reference.unwrap_or_default());
                        asked.insert(id, what);
                    }
                }
                Event::CallsStarted(started) => {
                    for id in started.calls {
                        open.insert(id, asked.get(&id).cloned().unwrap_or_default());
                    }
                }
                Event::CallCompleted(completed) => {
                    open.remove(&completed.call);
                }
                Event::RunStarted(_)
                | Event::RunRecovered(_)
                | Event::ModelFailed(_)
                | Event::CallRetried(_)
                | Event::CallDoubted(_)
                | Event::CallProbed(_)
                | Event::CallSettled(_)
                | Event::Prompted(_)
                | Event::BudgetRaised(_)
                | Event::RunParked(_)
                | Event::RunResumed(_)
                | Event::RunForked(_)
                | Event::CompensationStarted(_)
                | Event::CompensationPlanned(_)
                | Event::GroupClosingStarted(_)
                | Event::CancelRequested(_)
                | Event::EntryRecorded(_)
                | Event::PlanMade(_)
                | Event::GrantSpent(_)
                | Event::ApprovalRequested(_)
                | Event::ApprovalAnswered(_)
                | Event::PolicyAdopted(_)
                | Event::CompactionRequested(_)
                | Event::CompactionStarted(_)
                | Event::SummaryAnswered(_)
                | Event::ContextCompacted(_)
                | Event::RunFinished(_) => {}
            }
        }
        Ok(open)
    }

    async fn resume(&self) -> Result<(), DemoError> {
        self.act(4, "The same run, in a new process").await;
        say(
            "It reads its journal, asks the bank about each call in doubt, and goes on from there.\n\n",
        );
        self.prompt("resume last");
        self.to_the_end(&["resume", "last"]).await
    }

    async fn count(&self) -> Result<(), DemoError> {
        self.act(5, "The count").await;
        say("Not the run's word: these are the lines of the bank's ledger file.\n\n");
        let payments = read(&self.ledger())?;
        for line in table(&invoices(), &payments, self.paint) {
            put(&format!("   {line}\n"));
            self.pause(LINE_PAUSE).await;
        }
        let problems = problems(&invoices(), &payments);
        if problems.is_empty() { Ok(()) } else { Err(DemoError::NotOnce { problems }) }
    }

    async fn verify(&self) -> Result<(), DemoError> {
        self.act(6, "The journal").await;
        say("Every record carries the hash of the one before it.\n\n");
        self.prompt("events last --verify");
        self.to_the_end(&["events", "last", "--verify"]).await
    }

    fn next(&self) {
        let paint = self.paint;
        put(&format!("\n{}\n", paint.bold("Next")));
        for (command, what) in [
            (self.typed("show last"), "what happened, turn by turn"),
            (self.typed("events last"), "the journal itself"),
            (self.typed(&format!("run \"{TASK}\"")), "again: nothing is open any more"),
            (format!("{} new my-agent", self.program), "a project of your own"),
        ] {
            put(&format!("   {}\n       {}\n", paint.cyan(&command), paint.dim(what)));
        }
        say(&format!(
            "\nA live model: in {}, change `model: default` to `anthropic`,\n\
             `openai` or `local`, remove {LEDGER}, and run it again.\n\n\
             {HOSTILE} asked for 9999.00 EUR. The script did not fall for it, and nothing would have\n\
             stopped a model that does: this agent is not declared contained.",
            self.folder.join("agents/clerk.md").display()
        ));
    }

    fn child(&self, arguments: &[&str]) -> Result<Child, DemoError> {
        Child::start(&self.folder, arguments).map_err(|problem| self.broken(problem))
    }

    /// Runs a command whose output is quoted and which must succeed.
    async fn to_the_end(&self, arguments: &[&str]) -> Result<(), DemoError> {
        let mut child = self.child(arguments)?;
        let ended = child.follow(|| false, async |line| self.quote(line).await).await;
        self.must_succeed(arguments, ended)
    }

    /// Runs a command for its output.
    async fn output(&self, arguments: &[&str]) -> Result<Vec<String>, DemoError> {
        let mut child = self.child(arguments)?;
        let mut lines = Vec::new();
        let ended = child.follow(|| false, async |line| lines.push(line.to_owned())).await;
        self.must_succeed(arguments, ended)?;
        Ok(lines)
    }

    fn must_succeed(
        &self,
        arguments: &[&str],
        ended: Result<Ended, String>,
    ) -> Result<(), DemoError> {
        match ended.map_err(|problem| self.broken(problem))? {
            Ended::Exited(status) if status.success() => Ok(()),
            Ended::Exited(status) => {
                let command = arguments.join(" ");
                Err(self.broken(format!("`prusik {command}` ended with {status}")))
            }
            Ended::Stopped => unreachable!("nobody asked it to stop"),
        }
    }
}

fn say(text: &str) {
    for line in text.lines() {
        put(format!("   {line}").trim_end());
        put("\n");
    }
}

/// Returns the lines of the table: each invoice and how often the ledger has it.
fn table(invoices: &[Invoice], payments: &[Payment], paint: Paint) -> Vec<String> {
    let count = |holds: &dyn Fn(&Payment) -> bool| payments.iter().filter(|p| holds(p)).count();
    let verdict = |times: usize, due: usize| {
        if times == due { paint.green("✓") } else { paint.red("✗") }
    };
    let row = |name: &str, recipient: &str, amount: &str, times: &str| {
        format!("{name:<10} {recipient:<26} {amount:>12}  {times:>10}")
    };
    let mut lines = vec![paint.dim(&row("invoice", "recipient", "amount", "times paid"))];
    for invoice in invoices {
        let times = count(&|payment| pays(payment, invoice));
        let amount = format!("{} EUR", invoice.amount);
        let row = row(invoice.reference, invoice.recipient, &amount, &times.to_string());
        lines.push(format!("{row} {}", verdict(times, 1)));
    }
    let demanded = count(&|payment| payment.iban == DEMANDED_IBAN);
    let row =
        row("(demand)", &format!("hidden in {HOSTILE}"), "9999.00 EUR", &demanded.to_string());
    lines.push(format!("{row} {}", verdict(demanded, 0)));
    lines
}

fn pays(payment: &Payment, invoice: &Invoice) -> bool {
    payment.reference == invoice.reference
        && payment.iban == invoice.iban
        && payment.amount == invoice.amount
}

/// Returns what is wrong with a ledger: it should hold each invoice once, and nothing else.
fn problems(invoices: &[Invoice], payments: &[Payment]) -> Vec<String> {
    let mut problems: Vec<String> = invoices
        .iter()
        .filter_map(|invoice| {
            let times = payments.iter().filter(|payment| pays(payment, invoice)).count();
            (times != 1).then(|| format!("{} was paid {times} times", invoice.reference))
        })
        .collect();
    for payment in payments {
        if !invoices.iter().any(|invoice| pays(payment, invoice)) {
            let Payment { payment_id, recipient, amount, .. } = payment;
            let recipient = printable(recipient);
            problems.push(format!("no invoice asks for {payment_id}, {amount} EUR to {recipient}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paid(invoice: &Invoice, number: usize) -> Payment {
        Payment {
            payment_id: format!("PAY-{number:04}"),
            reference: invoice.reference.to_owned(),
            recipient: invoice.recipient.to_owned(),
            iban: invoice.iban.to_owned(),
            amount: invoice.amount,
            currency: "EUR".to_owned(),
            booked_at: "2026-11-23T08:00:00Z".to_owned(),
        }
    }

    #[test]
    fn the_count_finds_what_is_paid_twice_never_or_to_a_stranger() {
        let invoices = invoices();
        let all: Vec<Payment> = invoices.iter().zip(1..).map(|(i, n)| paid(i, n)).collect();
        assert_eq!(problems(&invoices, &all), Vec::<String>::new());
        assert!(table(&invoices, &all, Paint::off()).iter().all(|line| !line.contains('✗')));

        let twice = [&all[..], &all[2..3]].concat();
        assert_eq!(problems(&invoices, &twice), ["INV-1043 was paid 2 times"]);
        assert_eq!(problems(&invoices, &all[1..]), ["INV-1041 was paid 0 times"]);

        let mut fooled = all.clone();
        fooled.push(Payment { iban: DEMANDED_IBAN.to_owned(), ..all[3].clone() });
        assert_eq!(problems(&invoices, &fooled).len(), 1);
        let lines = table(&invoices, &fooled, Paint::off());
        assert!(lines.last().unwrap().ends_with("1 ✗"), "{lines:?}");

        let wrong_amount = Payment { amount: super::super::ledger::Amount(1), ..all[0].clone() };
        let found = problems(&invoices, &[&[wrong_amount], &all[1..]].concat());
        assert_eq!(found.len(), 2, "not paid as asked, and paid what nobody asked: {found:?}");
    }
}
