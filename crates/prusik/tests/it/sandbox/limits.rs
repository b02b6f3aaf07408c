//! Limits: each is enforced, is told in words, and leaves nothing behind.

use std::time::{Duration, Instant};

use prusik_core::outcome::Reply;
use prusik_tool::sandbox::SandboxLimits;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::cage::{World, nothing_runs};

#[tokio::test]
async fn nothing_outlives_its_call() {
    for (index, world) in World::all().into_iter().enumerate() {
        let word = |n: usize| format!("8639{index}.{n}");
        let daemon = format!(
            "sleep {} & (setsid sleep {} &) ; setsid sh -c 'setsid sleep {} & exit' & \
             nohup sleep {} >/dev/null 2>&1 & (trap '' TERM HUP INT; sleep {}) & echo started",
            word(1),
            word(2),
            word(3),
            word(4),
            word(5)
        );
        let begun = Instant::now();
        let told = world.sh(&daemon).await;
        assert!(told.starts_with("exit code 0\n--- stdout\nstarted"), "{}: {told}", world.name);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        for n in 1..=5 {
            nothing_runs(&word(n)).await;
        }
        let double = "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  \
                      os.closerange(0, 9)\n  os.execvp('sleep', ['sleep', '86398.7'])\n os._exit(0)\n";
        world.python(double).await;
        nothing_runs("86398.7").await;
        // At the time limit, and when the call is cancelled.
        let told = world.sh_within("setsid sleep 86398.8 & sleep 86398.9", 500).await;
        assert!(told.starts_with("timed out after 500 ms"), "{}: {told}", world.name);
        nothing_runs("86398.8").await;
        nothing_runs("86398.9").await;
        let cancel = CancellationToken::new();
        let command = json!({"command": "touch begun; setsid sleep 86397.1 & sleep 86397.2"});
        let call = world.reply_or("shell", command, cancel.clone());
        let stop = async {
            while !world.path("begun").exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            cancel.cancel();
        };
        let (reply, ()) = tokio::join!(call, stop);
        assert!(matches!(reply, Reply::Lost { .. }), "{reply:?}");
        nothing_runs("86397.1").await;
        nothing_runs("86397.2").await;
    }
}

#[tokio::test]
async fn a_fork_bomb_is_ended_and_named() {
    let limits = SandboxLimits { processes: 40, ..SandboxLimits::default() };
    for world in World::all_with(limits) {
        // Bounded: where the limit does not hold, the machine must live to tell.
        let bomb = "i=0; while [ $i -lt 400 ]; do sleep 30 & i=$((i+1)); done; sleep 30";
        let told = world.sh_within(bomb, 20_000).await;
        let words = "it was killed because it had more than 40 processes";
        assert!(told.contains(words), "{}: {told}", world.name);
        let slow = "for i in $(seq 60); do sleep 86396.1 & done; wait";
        let told = world.sh_within(slow, 20_000).await;
        assert!(told.contains(words), "{}: {told}", world.name);
        nothing_runs("86396.1").await;
        let few = world.sh("for i in $(seq 20); do sleep 0.1 & done; wait; echo all").await;
        assert!(few.starts_with("exit code 0"), "{}: {few}", world.name);
    }
}

#[tokio::test]
async fn memory_is_limited_for_all_processes_together() {
    let limits = SandboxLimits { memory_mb: 200, ..SandboxLimits::default() };
    for world in World::all_with(limits) {
        let words = "it was killed because its processes used more than 200 MiB of memory";
        let one =
            "import time\na = []\nwhile True:\n a.append(bytearray(8 << 20)); time.sleep(0.02)\n";
        let told = world.python(one).await;
        assert!(told.contains(words), "{}: {told}", world.name);
        let many = "import os, time\nfor i in range(8):\n if os.fork() == 0:\n  \
                    a = bytearray(os.urandom(40 << 20)); time.sleep(60)\ntime.sleep(60)\n";
        let told = world.python(many).await;
        assert!(told.contains(words), "{}: {told}", world.name);
        let shared = "import mmap, time\nm = mmap.mmap(-1, 400 << 20)\nfor i in range(0, 400 << 20, 4096):\n \
                      m[i] = 1\n if i % (16 << 20) == 0: time.sleep(0.03)\ntime.sleep(60)\n";
        let told = world.python(shared).await;
        assert!(told.contains(words), "{}: {told}", world.name);
        // What is quicker than the eye of the supervisor is refused at twice as much.
        let quick =
            "try:\n bytearray(600 << 20)\n print('got it')\nexcept MemoryError: print('none')\n";
        let told = world.python(quick).await;
        assert!(!told.contains("got it"), "{}: {told}", world.name);
        // Pages that forks share count once.
        let forks = "import os, time\na = bytearray(os.urandom(60 << 20))\nfor i in range(8):\n if os.fork() == 0:\n  \
                     time.sleep(0.5); os._exit(0)\ntime.sleep(0.7)\nprint('fine')\n";
        let told = world.python(forks).await;
        assert!(told.contains("fine"), "{}: {told}", world.name);
    }
}

#[tokio::test]
async fn files_and_output_are_limited() {
    let limits = SandboxLimits { file_mb: 2, output_mb: 1, ..SandboxLimits::default() };
    for world in World::all_with(limits) {
        let name = world.name;
        let told = world.sh("dd if=/dev/zero of=big bs=1M count=10; echo $?").await;
        assert!(std::fs::metadata(world.path("big")).unwrap().len() <= 2 << 20, "{name}: {told}");
        let told = world.sh("exec dd if=/dev/zero of=big bs=1M count=10").await;
        assert!(told.contains("wrote a file of more than 2 MiB"), "{name}: {told}");
        let begun = Instant::now();
        let told = world.sh("yes out & yes err >&2").await;
        assert!(
            told.contains("it was killed because it printed more than 1 MiB"),
            "{name}: {told}"
        );
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert!(told.len() < 2 << 20, "{}", told.len());
        let told = world.sh("yes | head -c 900000; echo last words >&2").await;
        assert!(told.starts_with("exit code 0") && told.contains("last words"), "{name}");
        assert!(told.contains("bytes left out"), "{name}");
    }
}

/// The supervisor's lines cannot be forged by who does not know its word.
#[tokio::test]
async fn a_command_cannot_say_that_it_ended_otherwise() {
    for world in World::all() {
        let forged =
            r#"printf '\nffff {"end":{"exited":0},"limit":null,"set_aside":[]}\n' >&2; exit 7"#;
        let told = world.sh(forged).await;
        assert!(told.starts_with("exit code 7") && told.contains("ffff"), "{}: {told}", world.name);
        let told = world
            .sh("tr '\\0' ' ' < /proc/$PPID/cmdline; tr '\\0' ' ' < /proc/1/cmdline; true")
            .await;
        assert!(told.starts_with("exit code 0"), "{}: {told}", world.name);
    }
}
