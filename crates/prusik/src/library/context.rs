//! What a run's context is told from outside: what must not be forgotten, and that it is to be smaller.

use prusik_core::event::Event;
use prusik_core::ids::RunId;
use prusik_core::input::{Input, Rejected};
use prusik_core::ledger::{EntryId, LedgerError, Note};
use prusik_core::run::Status;
use prusik_engine::{EngineError, now};
use prusik_store::{Signal, StoreError};

use super::error::Error;
use super::prusik::Prusik;

/// What became of something that is to be kept in a run's ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// It is in the ledger, under this name.
    Recorded { entry: EntryId },
    /// Somebody drives the run, and was told. It is in the ledger as soon as they have read it, unless
    /// the ledger is full by then.
    Told { owner: String },
}

/// What became of the wish to make a context smaller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compacting {
    /// It is done before the model is asked again: resume the run.
    Recorded,
    /// Somebody drives the run, and was told.
    Told { owner: String },
}

impl Prusik {
    /// Keeps something in a run's ledger, where it stays word for word whatever is summarized. The model
    /// is shown it with its next request. `supersedes` is the entry that no longer holds.
    pub async fn note(
        &self,
        run: &RunId,
        note: Note,
        supersedes: Option<EntryId>,
    ) -> Result<Noted, Error> {
        let by = self.person().to_owned();
        // Nobody answers for the one who drives it: what cannot be is told now.
        let state = self.show(run).await?;
        let policy = state.core().definition().agent().context.as_ref();
        let bytes_max = policy.ok_or_else(|| refused(LedgerError::None))?.ledger_bytes_max;
        let checked = state.state().ledger.check(&note, supersedes, bytes_max);
        checked.map_err(refused)?;
        let signal = Signal::Note { by: by.clone(), note: note.clone(), supersedes };
        match self.change_or_tell(run, Input::Noted { by, note, supersedes }, &signal).await? {
            Changed::Told { owner } => Ok(Noted::Told { owner }),
            Changed::Done(events) => {
                let recorded = events.iter().find_map(|event| {
                    if let Event::EntryRecorded(recorded) = event {
                        return Some(recorded.entry.id);
                    }
                    None
                });
                let entry = recorded.ok_or_else(|| refused(LedgerError::None))?;
                Ok(Noted::Recorded { entry })
            }
        }
    }

    /// Makes a run's context smaller before its model is asked again, however small it is.
    pub async fn compact(&self, run: &RunId) -> Result<Compacting, Error> {
        let by = self.person().to_owned();
        let standing = self.show(run).await?;
        if standing.core().definition().agent().context.is_none() {
            return Err(EngineError::from(Rejected::NoCompaction).into());
        }
        let signal = Signal::Compact { by: by.clone() };
        match self.change_or_tell(run, Input::CompactionRequested { by }, &signal).await? {
            Changed::Told { owner } => Ok(Compacting::Told { owner }),
            Changed::Done(_) => Ok(Compacting::Recorded),
        }
    }

    /// Changes a run that nobody drives, or tells who drives it.
    async fn change_or_tell(
        &self,
        run: &RunId,
        input: Input,
        signal: &Signal,
    ) -> Result<Changed, Error> {
        let mut held = match self.engine().open(run).await {
            Ok(held) => held,
            Err(EngineError::Store(StoreError::Leased { owner, .. })) => {
                self.store().post(run, signal, now()).await?;
                return Ok(Changed::Told { owner });
            }
            Err(error) => return Err(error.into()),
        };
        let ended = matches!(held.run().state().status, Status::Ended(_));
        let changed = if ended {
            Err(EngineError::from(Rejected::Ended).into())
        } else {
            self.change(&mut held, input).await
        };
        held.release().await?;
        changed.map(Changed::Done)
    }
}

enum Changed {
    Done(Vec<Event>),
    Told { owner: String },
}

fn refused(error: LedgerError) -> Error {
    EngineError::from(Rejected::from(error)).into()
}
