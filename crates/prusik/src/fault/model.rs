//! A model that fails now and then, as providers do.

use std::sync::Arc;

use async_trait::async_trait;
use prusik_core::model::{Answer, ModelError, ModelErrorKind, ModelRequest};
use prusik_model::{Delta, Model};

use super::Faults;

/// Failures after which a run tries again by itself.
const KINDS: [ModelErrorKind; 5] = [
    ModelErrorKind::Overloaded,
    ModelErrorKind::RateLimited,
    ModelErrorKind::StreamCut,
    ModelErrorKind::Timeout,
    ModelErrorKind::Server,
];

pub struct FaultyModel {
    inner: Arc<dyn Model>,
    faults: Faults,
}

impl FaultyModel {
    pub fn over(inner: Arc<dyn Model>, faults: Faults) -> Arc<dyn Model> {
        Arc::new(Self { inner, faults })
    }
}

#[async_trait]
impl Model for FaultyModel {
    async fn answer(
        &self,
        request: &ModelRequest,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        let (turn, attempt) = (request.turn.to_string(), request.attempt.to_string());
        let what = ["model", &turn, &attempt];
        if self.faults.strikes(&what) {
            // The answer was made and paid for, or it was not: the run cannot tell.
            let kind = KINDS[usize::try_from(self.faults.draw(&what, 5)).unwrap_or(0)];
            return Err(ModelError::new(kind, "a fault on demand"));
        }
        self.inner.answer(request, progress).await
    }

    async fn count_tokens(&self, request: &ModelRequest) -> Result<Option<u64>, ModelError> {
        self.inner.count_tokens(request).await
    }
}
