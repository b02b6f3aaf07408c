//! `cli.md`: every command with its arguments, from clap's own tree.

use clap::{Arg, Command, CommandFactory};

use super::{sentence, table};

pub fn page() -> String {
    let mut prusik = prusik::cli::Cli::command();
    prusik.build();
    let mut text = String::from("# Command line\n\n");
    text.push_str(&about(&prusik));
    let after = prusik.get_after_help().map(ToString::to_string).unwrap_or_default();
    for line in after.lines() {
        text.push_str(&format!("{line}\n"));
    }
    text.push_str("\n## Options of every command\n\n");
    text.push_str(&arguments(&prusik, |_| true));
    for command in shown(&prusik) {
        section(command.clone(), &mut text);
    }
    text.push_str(
        "\n## Environment\n\n\
         | variable | meaning |\n| --- | --- |\n\
         | `ANTHROPIC_API_KEY`, `OPENAI_API_KEY` | The keys, unless a model's `api_key` names \
         another place. |\n\
         | `NO_COLOR` | No colours, whatever the terminal. |\n\
         | `PRUSIK_LOG` | What is logged to standard error, such as `prusik=debug`. |\n\
         | `PRUSIK_CRASH` | For tests: `before:N` or `after:N` kills the process at its Nth append. \
         |\n",
    );
    text
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}

fn section(mut command: Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let usage = command.render_usage().to_string();
    let usage = usage.trim().trim_start_matches("Usage:").trim();
    let usage: Vec<&str> = usage.lines().map(str::trim).collect();
    text.push_str(&format!("\n## `{name}`\n\n{}", about(&command)));
    text.push_str(&format!("```text\n{}\n```\n", usage.join("\n")));
    let arguments = arguments(&command, |argument| {
        !argument.is_global_set() && argument.get_id() != "help" && argument.get_id() != "version"
    });
    if !arguments.is_empty() {
        text.push_str(&format!("\n{arguments}"));
    }
    for command in shown(&command) {
        section(command.clone(), text);
    }
}

fn about(command: &Command) -> String {
    let about = command.get_long_about().or(command.get_about());
    about.map_or(String::new(), |about| format!("{}\n\n", sentence(&about.to_string())))
}

fn arguments(command: &Command, is_wanted: fn(&Arg) -> bool) -> String {
    let rows: Vec<Vec<String>> = command
        .get_arguments()
        .filter(|argument| is_wanted(argument) && !argument.is_hide_set())
        .map(|argument| vec![name(argument), meaning(argument), default(argument)])
        .collect();
    if rows.is_empty() { String::new() } else { table(&["argument", "meaning", "default"], &rows) }
}

fn name(argument: &Arg) -> String {
    let values: Vec<&str> =
        argument.get_value_names().into_iter().flatten().map(clap::builder::Str::as_str).collect();
    let values = values.join(" ");
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    match (flags.as_slice(), argument.get_action().takes_values()) {
        ([], _) if values.is_empty() => format!("`{}`", argument.get_id().as_str().to_uppercase()),
        ([], _) => format!("`{values}`"),
        (flags, true) => format!("`{} {values}`", flags.join(", ")),
        (flags, false) => format!("`{}`", flags.join(", ")),
    }
}

fn meaning(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let mut text = sentence(&help);
    if text.is_empty() && argument.get_id() == "run" {
        return "The run: its id, its beginning or its end, or `last`.".to_owned();
    }
    if !argument.get_action().takes_values() {
        return text;
    }
    let choices: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|choice| !choice.is_hide_set())
        .map(|choice| match choice.get_help() {
            Some(help) => {
                format!("`{}` ({})", choice.get_name(), help.to_string().trim_end_matches('.'))
            }
            None => format!("`{}`", choice.get_name()),
        })
        .collect();
    if !choices.is_empty() {
        text.push_str(&format!(" One of {}.", choices.join(", ")));
    }
    text.trim().to_owned()
}

fn default(argument: &Arg) -> String {
    if !argument.get_action().takes_values() {
        return String::new();
    }
    let defaults = argument.get_default_values().iter();
    let defaults: Vec<String> =
        defaults.map(|default| format!("`{}`", default.to_string_lossy())).collect();
    defaults.join(", ")
}
