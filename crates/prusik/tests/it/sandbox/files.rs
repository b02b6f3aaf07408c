//! Files: what is outside is not read, what steers is not written, and links lead nowhere.

use prusik_core::outcome::Reply;
use serde_json::json;

use super::cage::World;

#[tokio::test]
async fn nothing_outside_is_read_or_written() {
    for world in World::all() {
        let secret = world.outside().join("secret");
        let secret = secret.display();
        let name = world.name;
        for attempt in [
            format!("cat {secret}"),
            "cat ../secret".to_owned(),
            format!("cat /proc/self/root{secret}"),
            "cat /proc/self/cwd/../secret /proc/$$/cwd/../secret".to_owned(),
            format!("cat /proc/1/root{secret}"),
            format!("ln -s {secret} link; cat link"),
            format!("ln {secret} hard; cat hard"),
            format!("cp {secret} copy; cat copy"),
            format!("exec 3<{secret}; cat <&3"),
        ] {
            let told = world.sh(&attempt).await;
            assert!(!told.contains("a secret"), "{name}: {attempt}: {told}");
            assert!(!told.starts_with("exit code 0"), "{name}: {attempt}: {told}");
        }
        let outside = world.outside();
        // In namespaces a command has a folder for temporary files of its own: what it makes there
        // succeeds, and is nowhere else.
        let private = outside.starts_with(std::env::temp_dir());
        let made = outside.join("made");
        let outside = outside.display();
        for attempt in [
            format!("echo x > {outside}/made"),
            "echo x > ../made".to_owned(),
            format!("mkdir {outside}/made"),
            format!("mv attempt {outside}/made"),
            format!("ln -s {outside}/made link2; echo x > link2"),
            format!("truncate -s 0 {secret}"),
            format!("rm -f {secret}; test ! -e {secret} && false"),
        ] {
            let told = world.sh(&attempt).await;
            assert!(private || !told.starts_with("exit code 0"), "{name}: {attempt}: {told}");
            assert!(!made.exists(), "{name}: {attempt}: {told}");
            let left = std::fs::read(world.outside().join("secret")).unwrap();
            assert_eq!(left, b"a secret", "{name}: {attempt}: {told}");
        }
        for attempt in ["touch /etc/made /usr/made /opt/made", "touch /dev/made"] {
            let told = world.sh(attempt).await;
            assert!(!told.starts_with("exit code 0"), "{name}: {attempt}: {told}");
        }
    }
}

#[tokio::test]
async fn homes_keys_and_the_machines_secrets_are_hidden() {
    let files = [("key.txt", "the key"), ("seen.txt", "seen")];
    for world in World::all_of(&files) {
        let name = world.name;
        let told = world.sh("cat seen.txt key.txt; cat < key.txt").await;
        assert!(told.contains("seen") && !told.contains("the key"), "{name}: {told}");
        let home = std::env::var("HOME").unwrap();
        let profile = format!("{home}/.profile");
        for hidden in ["/etc/shadow", &profile, "/var/log/dpkg.log"] {
            let told = world.sh(&format!("test ! -s {hidden} || cat {hidden}")).await;
            assert!(!told.contains("--- stdout"), "{name}: {hidden}: {told}");
        }
        let told = world.sh(&format!("ls -A {home} /home/* /run /var/lib 2>/dev/null")).await;
        assert!(!told.contains("--- stdout\n.") && !told.contains("docker"), "{name}: {told}");
    }
}

#[tokio::test]
async fn variables_of_ours_are_not_the_commands() {
    for world in World::all() {
        let told = world.sh("env; cat /proc/$$/environ /proc/1/environ /proc/*/environ").await;
        let cargo = env!("CARGO_PKG_NAME");
        assert!(
            !told.contains("CARGO") && !told.contains("NEXTEST"),
            "{}: {cargo} {told}",
            world.name
        );
        for line in told.lines().take_while(|line| !line.starts_with("--- stderr")).skip(2) {
            let known =
                ["PATH=", "HOME=", "LANG=", "LC_", "TMPDIR=", "USER=", "LOGNAME=", "TERM=", "PWD="];
            let plain = line.split('\0').all(|part| {
                part.is_empty()
                    || known.iter().any(|known| part.starts_with(known))
                    || ["SHLVL=", "OLDPWD=", "_="].iter().any(|own| part.starts_with(own))
            });
            assert!(plain, "{}: {line}", world.name);
        }
    }
}

/// What steers git, editors, agents and Prusik, and what the project protects.
#[tokio::test]
async fn what_steers_other_programs_cannot_be_changed() {
    let files = [
        (".git/config", "[core]\n"),
        (".git/hooks/pre-commit", "old"),
        (".mcp.json", "{}"),
        (".vscode/tasks.json", "{}"),
        ("prusik.yaml", "models: {}"),
        ("policy/rules.cedar", "permit"),
        ("free.txt", "free"),
        ("sub/free.txt", "free"),
    ];
    for world in World::all_of(&files) {
        let name = world.name;
        for attempt in [
            "echo x >> .git/config",
            "echo x > .git/hooks/post-checkout",
            "git config core.fsmonitor ./evil",
            "git config core.hooksPath ./hooks",
            "echo x > .git/commondir",
            "mv .git .gone",
            "rm -rf .git; test ! -d .git",
            "mkdir n && mv n .git/x",
            "echo x > .mcp.json",
            "rm .mcp.json",
            "mv .mcp.json other",
            "echo x > n.json && mv n.json .mcp.json",
            "ln .mcp.json hard && echo x > hard",
            "echo x > .vscode/tasks.json",
            "echo x > prusik.yaml",
            "echo x > policy/rules.cedar",
            "echo x > policy/more.cedar",
            "mv policy policy2",
            "chmod 777 .git/config && echo x > .git/config",
        ] {
            let told = world.sh(attempt).await;
            assert!(!told.starts_with("exit code 0"), "{name}: {attempt}: {told}");
        }
        for (file, text) in files {
            assert_eq!(std::fs::read_to_string(world.path(file)).unwrap(), text, "{name}: {file}");
        }
        assert!(
            !world.path(".git/commondir").exists() && !world.path("policy/more.cedar").exists()
        );
        let told = world.sh("cat .git/config && echo x > free.txt && echo y > sub/new").await;
        assert!(told.starts_with("exit code 0"), "{name}: {told}");
    }
}

/// What is protected and not there cannot be mounted read-only.
#[tokio::test]
async fn what_comes_into_being_under_a_steering_name_is_set_aside_and_told() {
    for world in World::all() {
        let name = world.name;
        let planted = "mkdir -p .git/hooks && echo '[core] fsmonitor = evil' > .git/config; \
                       echo '{}' > .mcp.json; ln -s /tmp .vscode; mkdir policy";
        let told = world.sh(planted).await;
        assert!(
            told.contains(
                "[.git is protected: what the command made there is now git.set-aside-1]"
            )
        );
        for steering in [".git", ".mcp.json", ".vscode", "policy"] {
            assert!(std::fs::symlink_metadata(world.path(steering)).is_err(), "{name}: {steering}");
            assert!(told.contains(&format!("[{steering} is protected")), "{name}: {told}");
        }
        assert!(world.path("git.set-aside-1/config").exists(), "nothing is lost");
        // A command that is killed at its time limit plants nothing either.
        let told = world.sh_within("mkdir .git; sleep 60", 400).await;
        assert!(told.starts_with("timed out"), "{name}: {told}");
        assert!(!world.path(".git").exists(), "{name}: {told}");
    }
}

/// File tools work on the host's side: what a command leaves in the workspace must not lead them out.
#[tokio::test]
async fn links_that_a_command_plants_lead_file_tools_nowhere() {
    for world in World::all() {
        let outside = world.outside();
        let outside = outside.display();
        let planted = format!(
            "ln -s {outside}/secret l1; ln -s ../secret l2; ln -s {outside} l3; ln -s l3 l4; \
             ln -s /proc/self/root l5; ln -s /etc/passwd l6; mkfifo pipe; ln -s loop loop"
        );
        assert!(world.sh(&planted).await.starts_with("exit code 0"), "{}", world.name);
        for path in ["l1", "l2", "l3/secret", "l4/secret", "l5/etc/passwd", "l6", "pipe", "loop"] {
            for (tool, arguments) in [
                ("read", json!({"path": path})),
                ("edit", json!({"path": path, "old_text": "a", "new_text": "b"})),
                ("grep", json!({"pattern": "secret", "path": path})),
            ] {
                let reply = world.reply(tool, arguments).await;
                // A pipe is passed over, as every file is that is none.
                let is_passed_over = (tool, path) == ("grep", "pipe");
                assert!(
                    is_passed_over || matches!(reply, Reply::Refused(_)),
                    "{}: {tool} {path}: {reply:?}",
                    world.name
                );
            }
        }
        for path in ["l1", "l3/made", "l5/tmp/made"] {
            let reply = world.reply("write", json!({"path": path, "content": "x"})).await;
            assert!(matches!(reply, Reply::Refused(_)), "{}: {path}: {reply:?}", world.name);
        }
        let whole = world.reply("grep", json!({"pattern": "secret"})).await;
        let Reply::Returned(found) = whole else { panic!("{whole:?}") };
        assert!(!found.plain_text().contains("a secret"), "{}", found.plain_text());
        assert_eq!(std::fs::read(world.outside().join("secret")).unwrap(), b"a secret");
    }
}

#[tokio::test]
async fn the_kernels_own_files_are_not_written() {
    for world in World::all() {
        // Each attempt writes what is there already, so that a hole does no harm. In namespaces these files
        // belong to whoever root is outside.
        let attempt = "for f in /proc/sys/kernel/core_pattern /proc/sys/vm/swappiness \
            /proc/sys/kernel/hostname; do v=$(cat $f) && echo \"$v\" > $f && echo wrote $f; done; \
            test ! -e /proc/sysrq-trigger || ! : > /proc/sysrq-trigger && \
            test ! -e /sys/kernel/uevent_helper || ! : > /sys/kernel/uevent_helper";
        let told = world.sh(attempt).await;
        assert!(!told.contains("wrote"), "{}: {told}", world.name);
    }
}
