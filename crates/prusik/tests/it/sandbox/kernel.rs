//! The kernel's other doors: calls that reach processes, namespaces, mounts and terminals.

use super::cage::World;

/// Each line is a call by its number on x86-64 with arguments that would do no harm if it worked. The program prints
/// what was not refused.
const CALLS: &str = r#"
import ctypes, errno, os, platform
libc = ctypes.CDLL(None, use_errno=True)
REFUSED = (errno.EPERM, errno.ENOSYS, errno.EACCES)
CALLS = {
    "ptrace": (101, 16, os.getppid()), "process_vm_readv": (310, os.getppid(), 0, 0, 0, 0, 0),
    "process_vm_writev": (311, os.getppid(), 0, 0, 0, 0, 0), "kcmp": (312, os.getpid(), os.getppid(), 0, 0, 0),
    "mount": (165, 0, b"/tmp", b"tmpfs", 0, 0), "umount2": (166, b"/proc", 2), "pivot_root": (155, b".", b"."),
    "chroot": (161, b"."), "unshare user": (272, 0x10000000), "unshare net": (272, 0x40000000),
    "setns": (308, 0, 0), "clone user": (56, 0x10000000 | 17, 0, 0, 0, 0), "clone3": (435, 0, 0),
    "bpf": (321, 0, 0, 0), "perf_event_open": (298, 0, 0, -1, -1, 0), "userfaultfd": (323, 0),
    "keyctl": (250, 0, -3, 0), "add_key": (248, b"user", b"x", b"y", 1, -2), "request_key": (249, b"user", b"x", 0, 0),
    "io_uring_setup": (425, 8, 0), "io_uring_enter": (426, 0, 0, 0, 0, 0), "kexec_load": (246, 0, 0, 0, 0),
    "init_module": (175, 0, 0, b""), "finit_module": (313, 0, b"", 0), "delete_module": (176, b"x", 0),
    "open_by_handle_at": (304, -100, 0, 0), "name_to_handle_at": (303, -100, b".", 0, 0, 0),
    "fsopen": (430, b"tmpfs", 0), "open_tree": (428, -100, b".", 1), "move_mount": (429, -100, b"", -100, b"", 0),
    "mount_setattr": (442, -100, b".", 0, 0, 0), "fanotify_init": (300, 0, 0), "syslog": (103, 10, 0, 0),
    "reboot": (169, 0, 0, 0, 0), "swapon": (167, b"x", 0), "sethostname": (170, b"x", 1), "acct": (163, b"x"),
    "settimeofday": (164, 0, 0), "clock_settime": (227, 0, 0), "adjtimex": (159, 0), "quotactl": (179, 0, 0, 0, 0),
    "pidfd_getfd": (438, 0, 0, 0), "process_madvise": (440, 0, 0, 0, 0, 0), "openat2": (437, -100, b".", 0, 0),
    "memfd_secret": (447, 0), "TIOCSTI": (16, 0, 0x5412, b"x"), "TIOCLINUX": (16, 0, 0x541c, b"\x02"),
    "getpid by the other numbers": (0x40000000 | 39,), "openat by the other numbers": (0x40000000 | 257, -100, b".", 0),
}
for name, (number, *arguments) in CALLS.items():
    ctypes.set_errno(0)
    arguments = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    done = libc.syscall(ctypes.c_long(number), *arguments)
    if done == 0 and name.startswith("clone"):
        os._exit(0)
    if done != -1 or ctypes.get_errno() not in REFUSED:
        print("LET THROUGH", name, done, errno.errorcode.get(ctypes.get_errno()))
print("tried", len(CALLS))
"#;

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn calls_that_reach_beyond_the_cage_are_refused() {
    for world in World::all() {
        let told = world.python(CALLS).await;
        assert!(
            told.starts_with("exit code 0") && told.contains("tried 49"),
            "{}: {told}",
            world.name
        );
        assert!(!told.contains("LET THROUGH"), "{}: {told}", world.name);
    }
}

#[tokio::test]
async fn processes_outside_are_neither_read_nor_signalled() {
    let mut victim = std::process::Command::new("sleep")
        .arg("86399.1")
        .env("VICTIM", "victims secret")
        .spawn()
        .unwrap();
    let (pid, own) = (victim.id(), std::process::id());
    for world in World::all() {
        let attempt = format!(
            "for p in {pid} {own} 1 $PPID; do cat /proc/$p/environ /proc/$p/maps /proc/$p/mem /proc/$p/cmdline; \
             ls -l /proc/$p/fd -L /proc/$p/root /proc/$p/cwd; kill -STOP $p; kill -9 $p; kill -9 -$p; done; \
             cat /proc/*/cmdline; kill -9 -1; echo survived"
        );
        let told = world.sh(&attempt).await;
        let (name, said) = (world.name, told.split("--- stderr").next().unwrap());
        for leak in ["victims secret", "86399.1", "nextest"] {
            assert!(!said.contains(leak), "{name}: {leak}: {told}");
        }
        assert!(victim.try_wait().unwrap().is_none(), "{name}: {told}");
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        assert!(stat.contains(") S "), "{name}: it is not stopped: {stat}");
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
}

#[tokio::test]
async fn nobody_becomes_more_than_he_was() {
    for world in World::all() {
        let name = world.name;
        let told = world
            .sh("grep -E '^(CapEff|CapPrm|CapAmb|NoNewPrivs|Seccomp):' /proc/thread-self/status \
                             || echo hidden")
            .await;
        if !told.contains("hidden") {
            for line in ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"]
            {
                assert!(told.contains(line), "{name}: {told}");
            }
        }
        // Set-user-id programs give nothing, and none is made for others to stumble over.
        let told = world
            .sh("cp /bin/sh own; chmod u+s own || chmod 4755 own; test ! -u own && echo kept")
            .await;
        assert!(told.contains("kept"), "{name}: {told}");
        let open = "import os\ntry:\n  os.open('suid', os.O_CREAT | os.O_WRONLY, 0o4755)\nexcept OSError: pass\n\
                    try:\n  os.mkdir('sgid', 0o2755)\nexcept OSError: pass\n\
                    print([hex(os.stat(f).st_mode & 0o6000) for f in ('suid', 'sgid') if os.path.exists(f)])";
        let told = world.python(open).await;
        assert!(told.contains("[]"), "{name}: {told}");
        let told = world.sh("mknod disk b 8 0 || mknod kmem c 1 1").await;
        assert!(!told.starts_with("exit code 0"), "{name}: {told}");
        let told = world.sh("printf 'x' > /dev/tty; unshare -r true || unshare -n true").await;
        assert!(!told.starts_with("exit code 0"), "{name}: {told}");
    }
}

/// What a command loads into programs it loads into its own: the supervisor and the host are none of them.
#[tokio::test]
async fn preloaded_libraries_stay_in_the_cage() {
    let source = "#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n\
        __attribute__((constructor)) static void in(void) { FILE *f = fopen(\"loaded\", \"a\"); \
        if (f) fprintf(f, \"%d %d\\n\", getpid(), geteuid()); unlink(\"../secret\"); \
        f = fopen(\"../made\", \"w\"); if (f) fclose(f); }\n";
    for world in World::all() {
        std::fs::write(world.path("in.c"), source).unwrap();
        let compiled = std::process::Command::new("cc")
            .args(["-shared", "-fPIC", "-o", "in.so", "in.c"])
            .current_dir(world.work())
            .status();
        assert!(compiled.unwrap().success());
        let work = world.work();
        let told = world
            .sh(&format!("export LD_PRELOAD={}/in.so; ls; su -c true; true", work.display()))
            .await;
        assert!(world.path("loaded").exists(), "{}: {told}", world.name);
        assert!(world.outside().join("secret").exists() && !world.outside().join("made").exists());
        let before = std::fs::read_to_string(world.path("loaded")).unwrap();
        assert!(world.sh("true").await.starts_with("exit code 0"));
        assert_eq!(std::fs::read_to_string(world.path("loaded")).unwrap(), before);
    }
}

/// A program above us may have left files and sockets open for its children.
#[tokio::test]
async fn descriptors_of_ours_are_not_the_commands() {
    for world in World::all() {
        let list = "ls /proc/self/fd 2>/dev/null || \
                    for n in 3 4 5 6 7 8 9; do (: <&$n) && echo $n; done";
        let told = world.sh(list).await;
        let open: Vec<&str> = told.split("--- stderr").next().unwrap().lines().skip(2).collect();
        // The three of every program, and the one that `ls` lists with.
        assert!(
            open.iter().all(|fd| ["0", "1", "2", "3", ""].contains(fd)),
            "{}: {told}",
            world.name
        );
    }
}
