//! The tool of the scenario, as a program would offer it.

use async_trait::async_trait;
use prusik_core::outcome::{Refusal, Reply, ToolResult};
use prusik_tool::{CallAttempt, Tool, ToolInfo};

use super::scenario::{Outcome, Scenario};

/// Performs the steps of a scenario. It is a read: steps may be repeated.
#[derive(Debug, Clone)]
pub struct WorkTool {
    scenario: Scenario,
    info: ToolInfo,
}

impl WorkTool {
    pub fn new(scenario: Scenario) -> Self {
        let tool = scenario.tool();
        let info = ToolInfo {
            name: tool.name,
            description: tool.description,
            input_schema: tool.input_schema,
            output_schema: None,
            hints: None,
        };
        Self { scenario, info }
    }
}

#[async_trait]
impl Tool for WorkTool {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    async fn call(&self, attempt: CallAttempt<'_>) -> Reply {
        let step = attempt.arguments["step"].as_u64().and_then(|step| u32::try_from(step).ok());
        match step.and_then(|step| self.scenario.result(step)) {
            Some(Outcome::Text(text)) => Reply::Returned(ToolResult::text(text)),
            Some(Outcome::Table(value)) => Reply::Returned(ToolResult::json(value)),
            None => {
                let steps = self.scenario.steps();
                Reply::Refused(Refusal::new(format!(
                    "there is no such step; they go from 1 to {steps}"
                )))
            }
        }
    }
}
