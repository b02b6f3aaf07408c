//! Prusik over long work: an agent with a small window, driven by the engine itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use prusik_core::agent::{Agent, ContextPolicy, Limits, OnFailure, Tool as Held};
use prusik_core::budget::Budget;
use prusik_core::contract::{Contract, EffectClass};
use prusik_core::ids::RunId;
use prusik_core::model::ModelSpec;
use prusik_engine::{Engine, EngineError, World};
use prusik_model::Model;
use prusik_store::Store;
use prusik_tool::Tool;

use super::scenario::Scenario;
use super::tool::WorkTool;
use crate::account::SONNET_4_5;

/// The window that the work has to fit into, in tokens.
pub const WINDOW: u64 = 20_000;
/// What an answer may take of it.
const ANSWER_TOKENS: u32 = 2_000;

/// Returns the agent that does the work, with what is the default for everything but its window.
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
            max_tokens: ANSWER_TOKENS,
            temperature: None,
            thinking_tokens: None,
            price: Some(SONNET_4_5),
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
        context: Some(ContextPolicy::of_window(WINDOW, ANSWER_TOKENS)),
        ledger: Vec::new(),
        containment: None,
    }
}

/// Returns the world of a run: a model, and the tool that performs the steps.
pub fn world(scenario: &Scenario, model: Arc<dyn Model>) -> World {
    let work: Arc<dyn Tool> = Arc::new(WorkTool::new(*scenario));
    let tools = BTreeMap::from([(work.info().name.clone(), work)]);
    World { model, summarizer: None, tools }
}

/// Runs the whole work in one go; returns the run's name.
pub async fn work(
    store: &Arc<dyn Store>,
    scenario: &Scenario,
    model: Arc<dyn Model>,
) -> Result<RunId, EngineError> {
    let engine = Engine::new(Arc::clone(store));
    let mut held = engine.start(agent(scenario), scenario.task(), Budget::default()).await?;
    let (_sender, mut controls) = tokio::sync::mpsc::unbounded_channel();
    let world = world(scenario, model);
    held.drive(&world, "test", Vec::new(), &mut controls, Arc::new(())).await?;
    let run = held.id().clone();
    held.release().await?;
    Ok(run)
}
