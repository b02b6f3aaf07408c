//! The bank's ledger: a file with one line of JSON for each payment. The file is the truth.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Largest ledger that is read, in bytes.
const LEDGER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Digits before the point that an amount may have.
const WHOLE_DIGITS_MAX: usize = 9;

/// A booked payment: one line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// The bank's own number of the payment.
    pub payment_id: String,
    pub reference: String,
    pub recipient: String,
    pub iban: String,
    pub amount: Amount,
    pub currency: String,
    /// When it was booked, in UTC.
    pub booked_at: String,
}

/// An amount of money, in cents. Written with two decimals, `1260.50`, and never as a binary
/// fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Amount(pub u64);

/// Says why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no amount: write it with two decimals, such as 1260.50")]
pub struct AmountError(String);

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let wrong = || AmountError(text.chars().take(40).collect());
        let (whole, cents) = text.split_once('.').ok_or_else(wrong)?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let fits = (1..=WHOLE_DIGITS_MAX).contains(&whole.len()) && cents.len() == 2;
        if !fits || !digits(whole) || !digits(cents) {
            return Err(wrong());
        }
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
        Ok(Self(number(whole)? * 100 + number(cents)?))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:02}", self.0 / 100, self.0 % 100))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": r"^[0-9]{1,9}\.[0-9]{2}$"})
    }
}

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("{} is held by another bank", path.display())]
    Busy { path: PathBuf },
    #[error("{} could not be {action}: {source}", path.display())]
    Io { path: PathBuf, action: &'static str, source: io::Error },
    #[error("{} has more than {LEDGER_BYTES_MAX} bytes; begin a new one", path.display())]
    TooLarge { path: PathBuf },
    #[error("{}, line {line}, is no payment: {problem}", path.display())]
    Malformed { path: PathBuf, line: usize, problem: String },
}

/// The ledger, held by this process alone until it is dropped.
///
/// A bank holds it until it ends. So a bank that is started after a crash says nothing before the
/// last one is gone, with all that was still on the wire to it: what it then says of a payment
/// stays true.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    path: PathBuf,
}

impl Ledger {
    /// Opens or makes the ledger, if no other process holds it.
    pub fn hold(path: &Path) -> Result<Self, LedgerError> {
        loop {
            let file = OpenOptions::new().read(true).append(true).create(true).open(path);
            let file = file.map_err(io_error(path, "opened"))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(LedgerError::Busy { path: path.to_owned() });
                }
                Err(TryLockError::Error(error)) => return Err(io_error(path, "locked")(error)),
            }
            // A cancellation puts a new file in the place of the one that was opened.
            let same = |there: &Metadata, here: &Metadata| there.ino() == here.ino();
            let here = file.metadata().map_err(io_error(path, "opened"))?;
            if fs::metadata(path).is_ok_and(|there| same(&there, &here)) {
                return Ok(Self { file, path: path.to_owned() });
            }
        }
    }

    /// Returns all payments, oldest first.
    pub fn payments(&mut self) -> Result<Vec<Payment>, LedgerError> {
        self.file.seek(SeekFrom::Start(0)).map_err(io_error(&self.path, "read"))?;
        read_from(&self.file, &self.path).map(|(payments, _)| payments)
    }

    /// Books a payment under the next number. It is on the disk when this returns.
    pub fn book(&mut self, order: Order) -> Result<Payment, LedgerError> {
        self.file.seek(SeekFrom::Start(0)).map_err(io_error(&self.path, "read"))?;
        let (payments, whole_bytes) = read_from(&self.file, &self.path)?;
        let payment = Payment {
            payment_id: number_of(&payments, &order.reference),
            reference: order.reference,
            recipient: order.recipient,
            iban: order.iban,
            amount: order.amount,
            currency: order.currency,
            booked_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        };
        let mut line = serde_json::to_string(&payment).expect("a payment is text throughout");
        line.push('\n');
        // A bank that was killed in the middle of a line has not booked it.
        let written = self
            .file
            .set_len(whole_bytes)
            .and_then(|()| self.file.write_all(line.as_bytes()))
            .and_then(|()| self.file.sync_all());
        written.map_err(io_error(&self.path, "written"))?;
        Ok(payment)
    }

    /// Strikes a payment that was not carried out yet; false if there is none. The ledger is as if it
    /// had never been booked.
    pub fn cancel(&mut self, payment_id: &str, reference: &str) -> Result<bool, LedgerError> {
        let mut payments = self.payments()?;
        let before = payments.len();
        payments.retain(|p| !(p.payment_id == payment_id && p.reference == reference));
        if payments.len() == before {
            return Ok(false);
        }
        let lines = payments.iter().map(|payment| {
            serde_json::to_string(payment).expect("a payment is text throughout") + "\n"
        });
        let text: String = lines.collect();
        let path = self.path.with_extension("new");
        let replace = || {
            // Left by a bank that was killed in the middle of this.
            let _ = fs::remove_file(&path);
            let mut file =
                OpenOptions::new().read(true).append(true).create_new(true).open(&path)?;
            file.lock()?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&path, &self.path)?;
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(file)
        };
        self.file = replace().map_err(io_error(&self.path, "written"))?;
        Ok(true)
    }
}

/// Returns the number of the next payment with a reference: it does not depend on what else is paid.
fn number_of(payments: &[Payment], reference: &str) -> String {
    let own = payments.iter().filter(|payment| payment.reference == reference);
    let numbers = own.filter_map(|payment| payment.payment_id.rsplit_once('-')?.1.parse().ok());
    let last: usize = numbers.max().unwrap_or(0);
    format!("PAY-{reference}-{}", last + 1)
}

/// What the bank is asked to pay.
#[derive(Debug, Clone)]
pub struct Order {
    pub reference: String,
    pub recipient: String,
    pub iban: String,
    pub amount: Amount,
    pub currency: String,
}

/// Reads the payments of a ledger that somebody else may hold; none if there is no such file.
pub fn read(path: &Path) -> Result<Vec<Payment>, LedgerError> {
    match File::open(path) {
        Ok(file) => read_from(&file, path).map(|(payments, _)| payments),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(io_error(path, "opened")(error)),
    }
}

/// Returns the payments and how many bytes their lines have. A last line without an end is left
/// out: nobody was told that it is booked.
fn read_from(file: &File, path: &Path) -> Result<(Vec<Payment>, u64), LedgerError> {
    let mut bytes = Vec::new();
    let read = file.take(LEDGER_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(io_error(path, "read"))?;
    if bytes.len() as u64 > LEDGER_BYTES_MAX {
        return Err(LedgerError::TooLarge { path: path.to_owned() });
    }
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let lines = bytes[..whole].split_inclusive(|byte| *byte == b'\n');
    let payments = lines.enumerate().map(|(index, line)| {
        serde_json::from_slice(line).map_err(|error| LedgerError::Malformed {
            path: path.to_owned(),
            line: index + 1,
            problem: error.to_string(),
        })
    });
    Ok((payments.collect::<Result<_, _>>()?, whole as u64))
}

fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::Io { path, action, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(reference: &str) -> Order {
        Order {
            reference: reference.into(),
            recipient: "Somebody\n\"quoted\"".into(),
            iban: "DE89370400440532013000".into(),
            amount: Amount(1_250),
            currency: "EUR".into(),
        }
    }

    #[test]
    fn amounts_are_exact_or_refused() {
        assert_eq!("1260.50".parse(), Ok(Amount(126_050)));
        assert_eq!(Amount(5).to_string(), "0.05");
        for wrong in ["", "1", "1.5", "1.505", "-1.00", "1,00", "9999999999.00", ".50", "1e3.00"] {
            assert!(wrong.parse::<Amount>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn half_a_line_is_no_payment_and_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let first = Ledger::hold(&path).unwrap().book(order("A")).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..whole.len() {
            std::fs::write(&path, [&whole[..], &whole[..cut]].concat()).unwrap();
            let expected =
                if cut == whole.len() { vec![first.clone(); 2] } else { vec![first.clone()] };
            assert_eq!(read(&path).unwrap(), expected, "cut after {cut} bytes");
        }
        Ledger::hold(&path).unwrap().book(order("B")).unwrap();
        let references: Vec<_> = read(&path).unwrap().into_iter().map(|p| p.reference).collect();
        assert_eq!(references, ["A", "B"]);
    }

    #[test]
    fn a_cancelled_payment_leaves_nothing_and_the_holder_holds_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let mut ledger = Ledger::hold(&path).unwrap();
        let first = ledger.book(order("A")).unwrap();
        let before = std::fs::read(&path).unwrap();
        let second = ledger.book(order("B")).unwrap();
        assert!(!ledger.cancel(&second.payment_id, "A").unwrap(), "another payment's number");
        assert!(ledger.cancel(&second.payment_id, "B").unwrap());
        assert!(!ledger.cancel(&second.payment_id, "B").unwrap(), "once is enough");
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert!(matches!(Ledger::hold(&path), Err(LedgerError::Busy { .. })));
        assert_eq!(ledger.payments().unwrap(), [first]);
        ledger.book(order("C")).unwrap();
        drop(ledger);
        assert_eq!(Ledger::hold(&path).unwrap().payments().unwrap().len(), 2);
    }

    #[test]
    fn a_ledger_has_one_holder_and_a_damaged_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let held = Ledger::hold(&path).unwrap();
        assert!(matches!(Ledger::hold(&path), Err(LedgerError::Busy { .. })));
        assert_eq!(read(&path).unwrap(), [], "anybody may look");
        drop(held);
        std::fs::write(&path, "{\"payment_id\": 1}\n").unwrap();
        let error = Ledger::hold(&path).unwrap().book(order("A")).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }
}
