//! Puts the arguments of a call into Cedar's terms, by the shapes that its policies were checked with.
//!
//! What cannot be put so (a number with more places than a decimal has, a text beyond the limit) is
//! left out and told, so that a policy that looks at it can deny. It must not look as if it were not
//! there.

use cedar_policy::RestrictedExpression;
use serde_json::{Number, Value};

use crate::shape::{Record, Shape};
use crate::{TEXT_BYTES_MAX, VALUES_MAX};

/// An argument that no policy can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unsayable {
    /// The names that lead to it.
    pub path: Vec<String>,
    pub why: String,
}

impl Unsayable {
    pub fn place(&self) -> String {
        self.path.join(".")
    }
}

/// Returns the arguments as a record, and what of them is not in it.
pub(crate) fn arguments(
    record: &Record,
    arguments: &Value,
) -> (RestrictedExpression, Vec<Unsayable>) {
    let mut writer = Writer { unsayable: Vec::new(), path: Vec::new(), left: VALUES_MAX };
    let expression = writer.record(record, arguments);
    (expression, writer.unsayable)
}

struct Writer {
    unsayable: Vec<Unsayable>,
    path: Vec<String>,
    left: usize,
}

impl Writer {
    fn record(&mut self, record: &Record, value: &Value) -> RestrictedExpression {
        let mut fields = Vec::new();
        for (name, field) in record {
            // Null is what stands where an optional value does not.
            let Some(value) = value.get(name).filter(|value| !value.is_null()) else { continue };
            self.path.push(name.clone());
            match self.value(&field.shape, value) {
                Ok(expression) => fields.push((name.clone(), expression)),
                Err(why) => self.unsayable.push(Unsayable { path: self.path.clone(), why }),
            }
            self.path.pop();
        }
        RestrictedExpression::new_record(fields)
            .expect("the keys of a map are different from each other")
    }

    fn value(&mut self, shape: &Shape, value: &Value) -> Result<RestrictedExpression, String> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| format!("there are more than {VALUES_MAX} values"))?;
        match (shape, value) {
            (Shape::Bool, Value::Bool(value)) => Ok(RestrictedExpression::new_bool(*value)),
            (Shape::Long, Value::Number(number)) => long(number)
                .map(RestrictedExpression::new_long)
                .ok_or_else(|| format!("{number} is no whole number of 64 bits")),
            (Shape::Decimal, Value::Number(number)) => {
                decimal(number).map(RestrictedExpression::new_decimal).ok_or_else(|| {
                    format!("{number} has more than four decimal places, or is too large")
                })
            }
            (Shape::Decimal, Value::String(text)) => amount(text)
                .map(RestrictedExpression::new_decimal)
                .ok_or_else(|| "it is not written as an amount, such as 184.20".to_owned()),
            (Shape::String, Value::String(text)) if text.len() <= TEXT_BYTES_MAX => {
                Ok(RestrictedExpression::new_string(text.clone()))
            }
            (Shape::String, Value::String(text)) => {
                Err(format!("it has {} bytes, more than {TEXT_BYTES_MAX}", text.len()))
            }
            (Shape::Set(of), Value::Array(items)) => {
                let before = self.unsayable.len();
                let items: Vec<_> =
                    items.iter().map(|item| self.value(of, item)).collect::<Result<_, _>>()?;
                // A set of records that are not whole would compare as what it is not.
                match self.unsayable.get(before) {
                    Some(unsayable) => Err(unsayable.why.clone()),
                    None => Ok(RestrictedExpression::new_set(items)),
                }
            }
            (Shape::Record(record), Value::Object(_)) => Ok(self.record(record, value)),
            (
                Shape::Bool
                | Shape::Long
                | Shape::Decimal
                | Shape::String
                | Shape::Set(_)
                | Shape::Record(_),
                _,
            ) => Err("it is not of the type that its schema says".to_owned()),
        }
    }
}

/// Returns a number as a whole one, if it is.
fn long(number: &Number) -> Option<i64> {
    /// Whole numbers up to here are floats without a loss.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if let Some(whole) = number.as_i64() {
        return Some(whole);
    }
    let float = number.as_f64().filter(|_| number.is_f64())?;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and within bounds")]
    (float.fract() == 0.0 && float.abs() <= EXACT_MAX).then_some(float as i64)
}

/// Returns a number as the text of a decimal, which has four places behind the point at most.
fn decimal(number: &Number) -> Option<String> {
    let text = match (number.as_i64(), number.as_u64()) {
        (Some(whole), _) => whole.to_string(),
        (None, Some(whole)) => whole.to_string(),
        // The shortest text that reads as the same number, and never with an exponent.
        (None, None) => number.as_f64()?.to_string(),
    };
    written(&text)
}

/// Returns an amount that is written as text, as the text of a decimal.
fn amount(text: &str) -> Option<String> {
    let is_plain = text.chars().all(|c| c.is_ascii_digit() || "-.".contains(c));
    let has_ends = text.ends_with(|c: char| c.is_ascii_digit());
    written(text).filter(|_| is_plain && has_ends)
}

fn written(text: &str) -> Option<String> {
    const PLACES_MAX: usize = 4;
    /// The largest whole part whose every fraction fits into 64 bits of ten-thousandths.
    const WHOLE_MAX: u64 = 922_337_203_685_476;
    let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = places.chars().all(|c| c.is_ascii_digit());
    let size: u64 = whole.strip_prefix('-').unwrap_or(whole).parse().ok()?;
    (size <= WHOLE_MAX && is_digits && places.len() <= PLACES_MAX)
        .then(|| format!("{whole}.{places}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn number(value: &Value) -> Number {
        value.as_number().expect("a number").clone()
    }

    #[test]
    fn numbers_are_exact_or_not_there() {
        for (value, text) in [
            (json!(500), Some("500.0")),
            (json!(-3), Some("-3.0")),
            (json!(0.1), Some("0.1")),
            (json!(1500.25), Some("1500.25")),
            (json!(-0.5), Some("-0.5")),
            (json!(0.12345), None),
            (json!(1e300), None),
            (json!(1e-7), None),
            (json!(u64::MAX), None),
            (json!(i64::MIN), None),
            (json!(922_337_203_685_476_u64), Some("922337203685476.0")),
        ] {
            assert_eq!(decimal(&number(&value)).as_deref(), text, "{value}");
        }
        for (value, whole) in [
            (json!(7), Some(7)),
            (json!(7.0), Some(7)),
            (json!(7.5), None),
            (json!(1e18), None),
            (json!(u64::MAX), None),
            (json!(i64::MIN), Some(i64::MIN)),
        ] {
            assert_eq!(long(&number(&value)), whole, "{value}");
        }
        for (text, decimal) in [
            ("184.20", Some("184.20")),
            ("7", Some("7.0")),
            ("-0.5", Some("-0.5")),
            ("007.5", Some("007.5")),
            ("1.000,00", None),
            ("1,5", None),
            ("1e3", None),
            ("٣", None),
            ("5.", None),
            (".5", None),
            ("+5", None),
            ("1.2.3", None),
            ("1.-2", None),
            (" 5", None),
            ("", None),
            ("-", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(amount(text).as_deref(), decimal, "{text}");
        }
    }
}
