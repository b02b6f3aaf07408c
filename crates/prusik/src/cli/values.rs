//! Values that people type: ceilings and ages.

use prusik_core::budget::Budget;

use super::exit::Stopped;
use crate::project::values::{Usd, Wall};

/// Reads `KIND=LIMIT` texts into the ceilings that they set.
pub fn budget(texts: &[String]) -> Result<Budget, Stopped> {
    let mut budget = Budget::default();
    for text in texts {
        let wrong = |problem: &str| {
            Stopped::misuse(format!(
                "`{text}` is no ceiling: {problem}; write turns=50, tokens=500000, usd=2.50, \
                 wall=30m or tool_calls=200"
            ))
        };
        let (kind, limit) = text.split_once('=').ok_or_else(|| wrong("there is no `=`"))?;
        let number = || limit.replace('_', "").parse().map_err(|_| wrong("it is no whole number"));
        match kind {
            "turns" => budget.turns = Some(number()?),
            "tokens" => budget.tokens = Some(number()?),
            "tool_calls" => budget.tool_calls = Some(number()?),
            "usd" => {
                let usd = limit.trim_start_matches('$').parse().ok().and_then(Usd::from_dollars);
                budget.nano_usd = Some(usd.ok_or_else(|| wrong("it is no amount of money"))?.0);
            }
            "wall" => {
                let wall = Wall::parse(limit).ok_or_else(|| wrong("it is no length of time"))?;
                budget.wall_ms = Some(wall.0);
            }
            _ => return Err(wrong("there is no such kind")),
        }
    }
    Ok(budget)
}

/// Reads an age such as `30d`, in milliseconds.
pub fn age_ms(text: &str) -> Result<u64, Stopped> {
    let age = Wall::parse(text);
    age.map(|age| age.0)
        .ok_or_else(|| Stopped::misuse(format!("`{text}` is no age; write 30d, 12h, 45m or 0s")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_are_read_or_refused_with_an_example() {
        let texts = ["turns=5", "usd=1.50", "wall=30m"].map(str::to_owned);
        let read = budget(&texts).unwrap();
        assert_eq!(
            (read.turns, read.nano_usd, read.wall_ms),
            (Some(5), Some(1_500_000_000), Some(1_800_000))
        );
        for wrong in ["turns", "turns=x", "usd=-1", "wall=soon", "horses=3"] {
            let error = budget(&[wrong.to_owned()]).unwrap_err();
            assert!(error.message.contains("write turns=50"), "{}", error.message);
        }
    }
}
