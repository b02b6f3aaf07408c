//! The engine over long work: a run with a small window, a forgetful model, and what was seen of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use prusik_core::agent::{Agent, ContextPolicy, Limits, OnFailure, Tool as Held};
use prusik_core::budget::Budget;
use prusik_core::contract::{Contract, EffectClass};
use prusik_core::event::Event;
use prusik_core::ids::{RunId, Seq};
use prusik_core::model::{Answer, ModelError, ModelRequest, ModelSpec, Price};
use prusik_engine::{Engine, World};
use prusik_model::{Delta, Model};
use prusik_store::Store;
use prusik_testkit::long::{LongModel, Scenario, WorkTool};
use prusik_tool::Tool;

/// The window that the work has to fit into, in tokens.
pub const WINDOW: u64 = 20_000;

pub fn agent(scenario: &Scenario) -> Agent {
    let tool = scenario.tool();
    let mut contract = Contract::of(EffectClass::Read);
    contract.parallel = false;
    Agent {
        name: "clerk".to_owned(),
        system: scenario.system().to_owned(),
        model: ModelSpec {
            alias: "default".to_owned(),
            model: "claude-sonnet-4-5".to_owned(),
            max_tokens: 1_000,
            temperature: None,
            thinking_tokens: None,
            // What Anthropic's price list says of it, in nano-dollars for a million tokens.
            price: Some(Price {
                input: 3_000_000_000,
                output: 15_000_000_000,
                cache_read: 300_000_000,
                cache_write: 3_750_000_000,
            }),
        },
        tools: vec![Held {
            name: tool.name,
            description: tool.description,
            input_schema: tool.input_schema,
            output_schema: None,
            contract,
            shown: true,
        }],
        budget: Budget::default(),
        output: None,
        limits: Limits::default(),
        on_failure: OnFailure::Leave,
        groups: Vec::new(),
        context: Some(ContextPolicy::of_window(WINDOW, 1_000)),
        ledger: Vec::new(),
    }
}

/// The forgetful model, and every request that it was sent.
pub struct Seen {
    model: LongModel,
    pub requests: Mutex<Vec<Arc<ModelRequest>>>,
}

impl Seen {
    pub fn new(model: LongModel) -> Arc<Self> {
        Arc::new(Self { model, requests: Mutex::default() })
    }
}

#[async_trait]
impl Model for Seen {
    async fn answer(
        &self,
        request: &ModelRequest,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        self.requests.lock().unwrap().push(Arc::new(request.clone()));
        Model::answer(&self.model, request, progress).await
    }
}

pub fn world(scenario: &Scenario, model: Arc<dyn Model>) -> World {
    let work: Arc<dyn Tool> = Arc::new(WorkTool::new(*scenario));
    let tools = BTreeMap::from([(work.info().name.clone(), work)]);
    World { model, summarizer: None, tools }
}

/// Runs the whole work in one go; returns the run's name.
pub async fn work(store: &Arc<dyn Store>, scenario: &Scenario, model: Arc<dyn Model>) -> RunId {
    let engine = Engine::new(Arc::clone(store));
    let held = engine.start(agent(scenario), scenario.task(), Budget::default()).await;
    let mut held = held.expect("a store that takes it");
    let (_sender, mut controls) = tokio::sync::mpsc::unbounded_channel();
    let world = world(scenario, model);
    held.drive(&world, "test", Vec::new(), &mut controls, Arc::new(())).await.expect("it is driven");
    let run = held.id().clone();
    held.release().await.expect("it is given back");
    run
}

pub async fn events(store: &Arc<dyn Store>, run: &RunId) -> Vec<(Seq, Event)> {
    let records = store.records(run, Seq(1), Seq(u64::MAX)).await.expect("they are there");
    records.iter().map(|record| (record.seq, record.event().expect("it can be read"))).collect()
}
