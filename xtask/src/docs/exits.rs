//! `exit-codes.md`: what the numbers mean, from where they are declared.

use prusik::cli::Exit;

use super::table;

pub fn page() -> String {
    let rows: Vec<Vec<String>> = Exit::ALL
        .iter()
        .map(|exit| vec![format!("`{}`", exit.code()), exit.meaning().to_owned()])
        .collect();
    format!(
        "# Exit codes\n\nScripts may rely on these numbers. A process that was killed by a signal \
         has none of them: the shell reports 128 and the signal's number, and the run goes on with \
         `prusik resume`.\n\n{}",
        table(&["code", "meaning"], &rows)
    )
}
