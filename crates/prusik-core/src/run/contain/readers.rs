//! Who would see what a call says, and who may.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::contract::{Contract, EffectClass};
use crate::expr;
use crate::grant::{self, Doubt};
use crate::label::Label;

/// Returns why a person must look at a call: it may carry something to those who may not see it. A read
/// that stays here carries nothing anywhere.
pub(super) fn doubt(label: &Label, contract: &Contract, arguments: &Value) -> Option<Doubt> {
    let readers = label.readers.as_ref()?;
    if contract.effect == EffectClass::Read && !contract.leaves {
        return None;
    }
    let who = match audience(contract, arguments) {
        None => "nobody knows who sees it".to_owned(),
        Some(audience) => {
            let readers: BTreeSet<String> = readers.iter().map(|name| plain(name)).collect();
            let other = audience.into_iter().find(|name| !readers.contains(&plain(name)))?;
            format!("{other:?} would see it")
        }
    };
    let read = match readers.len() {
        0 => "what was read is for nobody else".to_owned(),
        _ => format!(
            "what was read is for {} only",
            readers.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
        ),
    };
    Some(Doubt { argument: String::new(), why: format!("{who}, and {read}") })
}

/// Returns those who see what a call says; none if that is not known.
fn audience(contract: &Contract, arguments: &Value) -> Option<Vec<String>> {
    let names = contract.audience.as_ref()?.iter().map(|name| {
        let filled = expr::fill(name, &[("args", arguments)]).ok()?;
        let leaves = grant::leaves(&filled).into_iter();
        let names = leaves.map(|leaf| leaf.as_str().map(str::to_owned));
        names.collect::<Option<Vec<String>>>()
    });
    Some(names.collect::<Option<Vec<_>>>()?.concat())
}

/// Returns a name as names are compared.
fn plain(name: &str) -> String {
    name.trim().to_lowercase()
}
