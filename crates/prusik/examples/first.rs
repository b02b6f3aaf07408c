//! A whole program: an agent with a tool, a model, a store, and a run of it.

#![expect(clippy::print_stdout, reason = "an example prints")]

use prusik::{Agent, Model, Prusik};

/// Tells the temperature in a city, in degrees Celsius.
#[prusik::tool(effect = "read")]
async fn temperature(
    /// The city, such as `Bern`.
    city: String,
) -> Result<f64, std::convert::Infallible> {
    Ok(if city == "Bern" { 21.5 } else { 17.0 })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let agent = Agent::builder("forecaster")
        .prompt("You say how warm it is.")
        .model(Model::script(SCRIPT)?) // or Model::anthropic("claude-sonnet-5-5")
        .tool(temperature())
        .build()?;
    let prusik = Prusik::open("runs.db")?.with(agent);
    let run = prusik.start("forecaster", "How warm is it in Bern?").await?;
    let done = run.drive().await?;
    println!("{}", done.answer().unwrap_or("there is no answer"));
    Ok(())
}

/// What the model answers, turn by turn: nothing here needs a key or a network.
const SCRIPT: &str = r#"
turns:
  - call: [{ tool: temperature, arguments: { city: Bern } }]
  - say: '="It is " + results[0].text + " degrees in Bern."'
"#;
