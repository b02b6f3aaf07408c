//! `certify`: is a tool server telling the truth about its effects? And the relay that it needs.

use std::path::Path;

use super::Place;
use crate::certify::{self, Effects, Order, Verdict};
use crate::cli::args::CertifyArgs;
use crate::cli::exit::{Exit, Stopped};
use crate::cli::live::{complain, put};
use crate::cli::text::Paint;

pub async fn certify(place: &Place, args: CertifyArgs) -> Result<Exit, Stopped> {
    let project = place.project()?;
    let order = Order {
        names: args.names,
        ignored: args.ignore,
        seed: args.seed,
        effects: if args.live_effects { Effects::Live } else { Effects::Scratch },
    };
    let report = certify::certify(project, order, &complain).await?;
    let exit = if report.count(Verdict::Lie) == 0 { Exit::Done } else { Exit::Failed };
    if let Some(file) = &args.report {
        std::fs::write(file, report.markdown()).map_err(|error| {
            Stopped::misuse(format!("cannot write {}: {error}", file.display()))
        })?;
    }
    if place.json {
        for line in report.json(exit.code()) {
            put(&format!("{line}\n"));
        }
    } else {
        put(&report.text(Paint::for_stdout()));
    }
    Ok(exit)
}

pub async fn relay(folder: &Path, command: &[String]) -> Result<Exit, Stopped> {
    let relayed = certify::relay(folder, command).await;
    let program = command.first().map_or("", String::as_str);
    let code = relayed.map_err(|error| {
        Stopped::unavailable(format!("cannot start or reach `{program}`: {error}"))
    })?;
    // Whoever started us wants to know how the server ended.
    std::process::exit(code)
}
