//! `demo`: the whole promise in a minute. `demo-bank`: the bank that it needs.

use std::path::Path;

use crate::cli::args::DemoArgs;
use crate::cli::exit::{Exit, Stopped};
use crate::demo::{self, DemoError};

pub async fn demo(args: DemoArgs) -> Result<Exit, Stopped> {
    demo::run(&args.dir).await?;
    Ok(Exit::Done)
}

pub async fn bank(ledger: &Path) -> Result<Exit, Stopped> {
    demo::bank(ledger).await.map_err(|error| Stopped::unavailable(error.to_string()))?;
    Ok(Exit::Done)
}

impl From<DemoError> for Stopped {
    fn from(error: DemoError) -> Self {
        if error.is_misuse() {
            Self::misuse(error.to_string())
        } else {
            Self::failed(error.to_string())
        }
    }
}
