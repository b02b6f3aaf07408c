//! What goes wrong before or around a run: each mistake is named with its place and the way out,
//! the exit code tells what kind it is, and nothing panics.

use crate::prusik::{prusik, said, write_files};

const GOOD: &str = "models:\n  default: { provider: scripted, script: script.yaml }\n";
const AGENT: &str = "---\nname: main\ndescription: d\ntools: [list]\n---\nDo it.\n";
const SCRIPT: &str = "turns:\n  - say: Done.\n";

/// A project's files, the exit code of `run`, and what the error must say.
struct Mistake {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    exit: i32,
    says: &'static [&'static str],
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "an unknown key",
        files: &[(
            "prusik.yaml",
            "models:\n  default: { provider: scripted, scrpt: script.yaml }\n",
        )],
        exit: 2,
        says: &["prusik.yaml:2:", "scrpt", "script"],
    },
    Mistake {
        name: "a wrong type",
        files: &[(
            "prusik.yaml",
            "models:\n  default: { provider: scripted, script: script.yaml }\nbudget: { turns: many }\n",
        )],
        exit: 2,
        says: &["prusik.yaml:3:", "turns"],
    },
    Mistake {
        name: "a missing script",
        files: &[(
            "prusik.yaml",
            "models:\n  default: { provider: scripted, script: nowhere.yaml }\n",
        )],
        exit: 2,
        says: &["prusik.yaml:2:", "nowhere.yaml"],
    },
    Mistake {
        name: "a bad output schema",
        files: &[(
            "agents/main.md",
            "---\nname: main\ndescription: d\noutput: { type: objekt }\n---\nDo it.\n",
        )],
        exit: 2,
        says: &["agents/main.md:4:", "objekt"],
    },
    Mistake {
        name: "no key",
        files: &[(
            "prusik.yaml",
            "models:\n  default: { provider: anthropic, model: m, api_key: env:PRUSIK_TEST_NO_SUCH_KEY }\n",
        )],
        exit: 2,
        says: &["prusik.yaml:2:", "PRUSIK_TEST_NO_SUCH_KEY"],
    },
    Mistake {
        name: "an unknown tool",
        files: &[(
            "agents/main.md",
            "---\nname: main\ndescription: d\ntools: [lisst]\n---\nDo it.\n",
        )],
        exit: 2,
        says: &["agents/main.md:4:", "lisst", "list"],
    },
    Mistake {
        name: "a server that dies at start",
        files: &[
            (
                "prusik.yaml",
                "models:\n  default: { provider: scripted, script: script.yaml }\n\
                 servers:\n  dies: { command: sh, args: [-c, \"echo out of paper >&2; exit 3\"] }\n",
            ),
            (
                "agents/main.md",
                "---\nname: main\ndescription: d\ntools: [\"dies__*\"]\n---\nDo it.\n",
            ),
        ],
        exit: 4,
        says: &["dies", "out of paper"],
    },
    Mistake {
        name: "a server that is not there",
        files: &[
            (
                "prusik.yaml",
                "models:\n  default: { provider: scripted, script: script.yaml }\n\
                 servers:\n  gone: { command: no-such-program-anywhere }\n",
            ),
            (
                "agents/main.md",
                "---\nname: main\ndescription: d\ntools: [\"gone__*\"]\n---\nDo it.\n",
            ),
        ],
        exit: 4,
        says: &["gone", "no-such-program-anywhere"],
    },
];

#[test]
fn each_mistake_names_its_place_and_the_way_out() {
    for mistake in MISTAKES {
        let folder = tempfile::tempdir().unwrap();
        let good = [("prusik.yaml", GOOD), ("agents/main.md", AGENT), ("script.yaml", SCRIPT)];
        write_files(folder.path(), &good);
        write_files(folder.path(), mistake.files);
        let run = prusik(folder.path(), &["run", "Do it"]);
        let text = said(&run);
        let name = mistake.name;
        assert_eq!(run.status.code(), Some(mistake.exit), "{name}: {text}");
        assert!(!text.contains("panicked"), "{name}: {text}");
        for part in mistake.says {
            assert!(text.contains(part), "{name}: {part:?} is missing: {text}");
        }
    }
}

#[test]
fn a_model_that_cannot_be_reached_parks_the_run_and_says_where_it_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let yaml = format!(
        "models:\n  default: {{ provider: openai, model: m, base_url: \"http://127.0.0.1:{port}/v1\" }}\n\
         budget: {{ wall: 2s }}\n"
    );
    write_files(folder.path(), &[("prusik.yaml", &yaml), ("agents/main.md", AGENT)]);
    let run = prusik(folder.path(), &["run", "Do it"]);
    let text = said(&run);
    assert!(matches!(run.status.code(), Some(3 | 4)), "{text}");
    assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
    assert!(text.contains("prusik resume"), "{text}");
}

#[test]
fn outside_of_a_project_the_way_in_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["run", "x"][..], &["runs"], &["show", "last"]] {
        let called = prusik(folder.path(), arguments);
        assert_eq!(called.status.code(), Some(2), "{}", said(&called));
        assert!(said(&called).contains("prusik new"), "{}", said(&called));
    }
    let called = prusik(folder.path(), &["rnu"]);
    assert_eq!(called.status.code(), Some(2));
    assert!(said(&called).contains("run"), "{}", said(&called));
}
