//! `certify`: is a tool server telling the truth about its effects? And the relay that it needs.

use std::path::Path;

use super::Place;
use super::run::wait_for_stop;
use crate::certify::{self, Effects, Order, Report, Verdict};
use crate::cli::args::{CertifyArgs, DeniedVerdict};
use crate::cli::exit::{Exit, Stopped};
use crate::cli::live::{complain, put};
use crate::cli::page::Page;
use crate::cli::text::Paint;

pub async fn certify(place: &Place, args: CertifyArgs) -> Result<Exit, Stopped> {
    let project = place.project()?;
    let page = args.report.as_deref().map(Page::open).transpose()?;
    let order = Order {
        names: args.names,
        ignored: args.ignore,
        seed: args.seed,
        effects: if args.live_effects { Effects::Live } else { Effects::Scratch },
    };
    let report = certify::certify(project, order, &complain, wait_for_stop()).await?;
    let exit = exit_of(&report, args.deny);
    if let Some(page) = page {
        page.write(&report.markdown())?;
    }
    if place.json {
        for line in report.json(exit.code()) {
            put(&format!("{line}\n"));
        }
    } else {
        put(&report.text(Paint::for_stdout()));
    }
    if report.count(Verdict::Holds) == 0 && report.count(Verdict::Lie) == 0 {
        complain("nothing could be tested: each claim says what would make it testable");
    }
    Ok(exit)
}

/// Where nothing held, nothing is known to be sound.
fn exit_of(report: &Report, deny: Option<DeniedVerdict>) -> Exit {
    let is_denied = match deny {
        Some(DeniedVerdict::Untested) => report.count(Verdict::Untested) > 0,
        None => false,
    };
    let is_sound = report.count(Verdict::Lie) == 0 && report.count(Verdict::Holds) > 0;
    if is_sound && !is_denied { Exit::Done } else { Exit::Failed }
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
