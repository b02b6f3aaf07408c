//! Paths do not lead outside, whatever they look like.

use std::fs;
use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;

struct Fixture {
    _folder: tempfile::TempDir,
    root: PathBuf,
    outside: PathBuf,
    workspace: Workspace,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    let (root, outside) = (base.join("work"), base.join("outside"));
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::create_dir_all(root.join("agents")).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::write(root.join("a/file"), "inside").unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink(&outside, root.join("out")).unwrap();
    symlink("../outside/secret", root.join("secret")).unwrap();
    symlink("../outside/new", root.join("dangling")).unwrap();
    symlink("a/b", root.join("in")).unwrap();
    symlink(root.join("a"), root.join("in_absolute")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("agents", root.join("alias")).unwrap();
    symlink("a/made-through-a-link", root.join("fresh")).unwrap();
    let protected = ["prusik.yaml", "agents", ".git"].map(PathBuf::from);
    let workspace = Workspace::open(&root, &protected, &["keys".into()]).unwrap();
    Fixture { _folder: folder, root, outside, workspace }
}

fn kind<T>(result: Result<T, Problem>) -> Kind {
    match result {
        Ok(_) => panic!("went through"),
        Err(problem) => problem.kind,
    }
}

fn write(workspace: &Workspace, path: &str) -> Result<(), Problem> {
    Replacement::stage(workspace, path, b"written")?.commit()
}

#[test]
fn what_leads_outside_is_neither_read_nor_written() {
    let fixture = fixture();
    let workspace = &fixture.workspace;
    for path in [
        "../outside/secret",
        "a/../../outside/secret",
        "out/secret",
        "secret",
        "in/../../../outside/secret",
        "/etc/passwd",
        "dangling",
        &format!("{}/../outside/secret", fixture.root.display()),
        &fixture.outside.join("secret").to_string_lossy(),
    ] {
        assert_eq!(kind(workspace.read_file(path, 100)), Kind::OutsideWorkspace, "{path}");
        assert_eq!(kind(write(workspace, path)), Kind::OutsideWorkspace, "{path}");
    }
    assert_eq!(fs::read_to_string(fixture.outside.join("secret")).unwrap(), "secret");
    assert_eq!(fs::read_dir(&fixture.outside).unwrap().count(), 1, "nothing was made");
}

#[test]
fn links_within_are_followed() {
    let fixture = fixture();
    let workspace = &fixture.workspace;
    let absolute = fixture.root.join("a/file");
    for path in
        ["a/file", "in/../file", "in_absolute/file", "./a/./file", absolute.to_str().unwrap()]
    {
        assert_eq!(workspace.read_file(path, 100).unwrap(), b"inside", "{path}");
    }
    write(workspace, "in/new/deep/file").unwrap();
    assert_eq!(fs::read(fixture.root.join("a/b/new/deep/file")).unwrap(), b"written");
    write(workspace, "fresh").unwrap();
    assert_eq!(fs::read(fixture.root.join("a/made-through-a-link")).unwrap(), b"written");
    assert_eq!(kind(workspace.read_file("loop", 100)), Kind::InvalidPath);
}

#[test]
fn a_workspace_behind_a_link_is_resolved_once() {
    let fixture = fixture();
    let link = fixture.outside.join("link");
    symlink(&fixture.root, &link).unwrap();
    let workspace = Workspace::open(&link, &[link.join("agents")], &[]).unwrap();
    let through_link = link.join("a/file");
    assert_eq!(workspace.read_file(through_link.to_str().unwrap(), 100).unwrap(), b"inside");
    assert_eq!(kind(write(&workspace, "agents/x.md")), Kind::Protected);
    fs::remove_file(&link).unwrap();
    symlink("/etc", &link).unwrap();
    assert_eq!(workspace.read_file("a/file", 100).unwrap(), b"inside");
}

#[test]
fn protected_paths_are_read_and_never_written() {
    let fixture = fixture();
    let workspace = &fixture.workspace;
    fs::write(fixture.root.join("agents/a.md"), "agent").unwrap();
    for path in [
        "prusik.yaml",
        "./a/../prusik.yaml",
        "agents",
        "agents/a.md",
        "agents/new/b.md",
        "alias/a.md",
        "AGENTS/a.md",
        "in_absolute/../agents/a.md",
        ".git/hooks/pre-commit",
    ] {
        assert_eq!(kind(write(workspace, path)), Kind::Protected, "{path}");
    }
    assert!(!fixture.root.join(".git").exists() && !fixture.root.join("AGENTS").exists());
    assert_eq!(workspace.read_file("alias/a.md", 100).unwrap(), b"agent");
    write(workspace, "agents.txt").unwrap();
    write(workspace, "prusik.yaml.bak").unwrap();
}

#[test]
fn hidden_paths_are_neither_read_nor_written() {
    let fixture = fixture();
    let workspace = &fixture.workspace;
    fs::create_dir_all(fixture.root.join("keys")).unwrap();
    fs::write(fixture.root.join("keys/bank"), "secret").unwrap();
    symlink("keys", fixture.root.join("innocent")).unwrap();
    for path in ["keys/bank", "KEYS/bank", "./a/../keys/bank", "innocent/bank", "keys"] {
        assert_eq!(kind(workspace.open_file(path)), Kind::Protected, "{path}");
        assert_eq!(kind(write(workspace, path)), Kind::Protected, "{path}");
    }
    assert_eq!(kind(workspace.find("keys", Intent::Read)), Kind::Protected);
}

#[test]
fn odd_paths_and_special_files_are_refused_and_do_not_hang() {
    let fixture = fixture();
    let workspace = &fixture.workspace;
    let long_name = "x".repeat(300);
    let long_path = "x/".repeat(3_000);
    for path in ["", "a\0b", &long_name, &long_path] {
        assert_eq!(kind(workspace.read_file(path, 100)), Kind::InvalidPath);
        assert_eq!(kind(write(workspace, path)), Kind::InvalidPath);
    }
    let pipe = fixture.root.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(fixture.root.join("socket")).unwrap();
    for path in ["pipe", "socket", "a"] {
        assert_eq!(kind(workspace.read_file(path, 100)), Kind::NotAFile, "{path}");
        assert_eq!(kind(write(workspace, path)), Kind::NotAFile, "{path}");
    }
    assert_eq!(kind(workspace.read_file("a/file/x", 100)), Kind::NotAFolder);
    assert_eq!(kind(workspace.read_file("a/none", 100)), Kind::NotFound);
    assert_eq!(kind(workspace.read_file("a/file", 5)), Kind::TooLarge);
}

#[test]
fn a_write_keeps_the_mode_and_leaves_nothing_behind() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = fixture();
    let script = fixture.root.join("a/run.sh");
    fs::write(&script, "old").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o750)).unwrap();
    write(&fixture.workspace, "a/run.sh").unwrap();
    assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o750);
    let staged = Replacement::stage(&fixture.workspace, "a/run.sh", b"never").unwrap();
    assert_eq!(fs::read(&script).unwrap(), b"written", "not before it is committed");
    drop(staged);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o440)).unwrap();
    assert_eq!(kind(write(&fixture.workspace, "a/run.sh")), Kind::Forbidden);
    let mut names: Vec<_> = fs::read_dir(fixture.root.join("a"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["b", "file", "run.sh"]);
}

#[test]
fn a_folder_that_is_swapped_for_a_link_leads_nowhere() {
    let fixture = fixture();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let flip = fixture.root.join("flip");
    fs::create_dir(fixture.root.join("real")).unwrap();
    fs::write(fixture.root.join("real/secret"), "inside").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for target in [Path::new("real"), &fixture.outside] {
                    let next = fixture.root.join("next");
                    symlink(target, &next).unwrap();
                    fs::rename(&next, &flip).unwrap();
                }
            }
        });
        for _ in 0..3_000 {
            if let Ok(bytes) = fixture.workspace.read_file("flip/secret", 100) {
                assert_eq!(bytes, b"inside");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_path_leads_outside(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "..", ".", "a", "b", "file", "out", "secret", "in", "in_absolute", "dangling",
                "alias", "agents", "new", "loop", "", "~", "fresh", "..\u{0}", "A",
            ]),
            1..8,
        ),
        absolute: bool,
    ) {
        let fixture = fixture();
        let mut path = parts.join("/");
        if absolute {
            path = format!("{}/{path}", fixture.root.display());
        }
        if let Ok(bytes) = fixture.workspace.read_file(&path, 100) {
            prop_assert_eq!(bytes, b"inside");
        }
        let _ = write(&fixture.workspace, &path);
        let outside: Vec<_> = fs::read_dir(&fixture.outside).unwrap().collect();
        prop_assert_eq!(outside.len(), 1);
        prop_assert_eq!(fs::read(fixture.outside.join("secret")).unwrap(), b"secret");
        prop_assert_eq!(fs::read_dir(fixture.root.join("agents")).unwrap().count(), 0);
        let base = fixture.root.parent().unwrap();
        prop_assert_eq!(fs::read_dir(base).unwrap().count(), 2);
    }
}
