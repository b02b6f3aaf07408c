//! A run's context from outside: what is in it, what must not be forgotten, and that it is to be smaller.

use std::sync::Arc;

use prusik_core::event::Event;
use prusik_core::ids::{RunId, Seq};
use prusik_core::input::{Input, Rejected};
use prusik_core::label::Label;
use prusik_core::ledger::{Author, Entry, EntryId, LedgerError, Note};
use prusik_core::record::Record;
use prusik_core::run::{Definition, Status};
use prusik_engine::{EngineError, now};
use prusik_store::{Signal, StoreError};

use super::error::Error;
use super::prusik::Prusik;
use crate::context::{ContextError, ContextView, Filling, filling, view};

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
        let ledger = &state.state().ledger;
        let (id, author) = (ledger.next_id(), Author::Person(by.clone()));
        let entry = Entry { id, note: note.clone(), author, label: Label::trusted(), supersedes };
        ledger.check(&entry, bytes_max).map_err(refused)?;
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

    /// Returns what the model saw, or will see next, piece by piece; another process may be driving the
    /// run. By a record that is an answer it is exactly the request that it answered; by any other the
    /// request that comes next, or the last one where none does. Without a record it is the run's last.
    pub async fn context(&self, run: &RunId, at: Option<Seq>) -> Result<ContextView, Error> {
        let (definition, records) = self.journal(run).await?;
        view(&definition, &records, at).map_err(|error| unreadable(run, error))
    }

    /// Returns how a run's context filled, request by request.
    pub(crate) async fn filling(&self, run: &RunId) -> Result<Filling, Error> {
        let (definition, records) = self.journal(run).await?;
        filling(&definition, &records).map_err(|error| unreadable(run, error))
    }

    async fn journal(&self, run: &RunId) -> Result<(Arc<Definition>, Vec<Record>), Error> {
        let definition = Arc::clone(self.engine().read(run).await?.definition());
        Ok((definition, self.store().records(run, Seq(1), Seq(u64::MAX)).await?))
    }

    /// Returns the body that a request goes over the wire with, byte for byte, as the agent's models are
    /// declared today. None where nothing goes over a wire: a script answers.
    pub fn wire_body(&self, view: &ContextView) -> Result<Option<Vec<u8>>, Error> {
        let config = self.connection_of(&view.agent, &view.request.model.alias, view.purpose)?;
        match config {
            None => Ok(None),
            Some(config) => Ok(config.wire_body(&view.request)?),
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

fn unreadable(run: &RunId, error: ContextError) -> Error {
    match error {
        ContextError::NoSuchRecord { .. } => Error::Misuse(error.to_string()),
        ContextError::Journal(problem) => EngineError::Journal { run: run.clone(), problem }.into(),
    }
}

fn refused(error: LedgerError) -> Error {
    EngineError::from(Rejected::from(error)).into()
}
