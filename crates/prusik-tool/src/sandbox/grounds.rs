//! Which files a command may see, read and write.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What every command sees, read-only: programs, libraries, and how the system is set up.
pub const SYSTEM: [&str; 11] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/nix/store",
    "/gnu/store",
];

/// What of that is the machine's own secret. Most of it only root can read, and root runs agents, too.
pub const HIDDEN_OF_SYSTEM: [&str; 23] = [
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/pki/tls/private",
    "/etc/krb5.keytab",
    "/etc/NetworkManager/system-connections",
    "/etc/wireguard",
    "/etc/openvpn",
    "/etc/ipsec.d",
    "/etc/ipsec.secrets",
    "/etc/ppp",
    "/etc/docker",
    "/etc/kubernetes",
    "/etc/rancher",
    "/etc/letsencrypt",
    "/etc/credstore",
    "/etc/credstore.encrypted",
    "/etc/machine-id",
];

/// Names that steer what a person's programs do when they merely come by a folder: `git` runs what its
/// configuration and hooks say, editors and agents what their settings say, and Prusik its project. What writes
/// them writes programs that run outside of the sandbox.
pub const STEERING: [&str; 9] = [
    ".git",
    ".mcp.json",
    ".envrc",
    ".vscode",
    ".idea",
    ".claude",
    ".cursor",
    ".devcontainer",
    "prusik.yaml",
];

/// What a command may see, as it is asked for. Paths are absolute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grounds {
    /// Where it starts.
    pub folder: PathBuf,
    pub writable: Vec<PathBuf>,
    pub readable: Vec<PathBuf>,
    /// What is not written although it lies below something writable. It need not be there.
    pub protected: Vec<PathBuf>,
    /// What is not seen although it lies below something that is.
    pub hidden: Vec<PathBuf>,
}

/// The same as it is at this moment: links resolved, and only what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    pub folder: PathBuf,
    pub writable: Vec<PathBuf>,
    pub readable: Vec<PathBuf>,
    pub protected: Vec<PathBuf>,
    pub hidden: Vec<PathBuf>,
    /// Protected and not there.
    pub unborn: Vec<PathBuf>,
}

/// A path that is asked for and cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct NotThere {
    pub path: PathBuf,
    pub source: io::Error,
}

impl Grounds {
    /// Looks at what there is.
    pub fn find(&self) -> Result<Found, NotThere> {
        let real = |path: &PathBuf| {
            path.canonicalize().map_err(|source| NotThere { path: path.clone(), source })
        };
        let all = |paths: &[PathBuf]| paths.iter().map(real).collect::<Result<Vec<_>, _>>();
        let (writable, readable) = (all(&self.writable)?, all(&self.readable)?);
        let mut found =
            Found { folder: real(&self.folder)?, writable, readable, ..Found::default() };
        let steering = found.writable.iter().flat_map(|root| STEERING.map(|name| root.join(name)));
        let protected: Vec<PathBuf> = self.protected.iter().cloned().chain(steering).collect();
        for path in &protected {
            found.protect(path);
        }
        for path in &self.hidden {
            if let Ok(path) = path.canonicalize()
                && found.shows(&path)
                && !found.hidden.contains(&path)
            {
                found.hidden.push(path);
            }
        }
        Ok(found)
    }
}

impl Found {
    fn protect(&mut self, path: &Path) {
        let mut put = |path: PathBuf, is_there: bool| {
            let below = |root: &PathBuf| path.starts_with(root) && path != *root;
            if !self.writable.iter().any(below) {
                return;
            }
            let list = if is_there { &mut self.protected } else { &mut self.unborn };
            if !list.contains(&path) {
                list.push(path);
            }
        };
        // The name itself is meant, and what it leads to.
        match named(path) {
            Some((name, rest)) if rest.as_os_str().is_empty() => {
                let is_there = fs::symlink_metadata(&name).is_ok();
                if let Ok(target) = name.canonicalize()
                    && target != name
                {
                    put(target, true);
                }
                put(name, is_there);
            }
            // The first folder on the way that is missing: making it would be the beginning.
            Some((name, _)) => put(name, false),
            None => {}
        }
    }

    fn shows(&self, path: &Path) -> bool {
        let system = SYSTEM.iter().map(Path::new);
        let granted = self.writable.iter().chain(&self.readable).map(PathBuf::as_path);
        system.chain(granted).any(|root| path.starts_with(root))
    }
}

/// Returns a path with the links of its folders resolved, up to the first part that is missing, and what
/// follows that.
fn named(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let (parent, name) = (path.parent()?, path.file_name()?);
    if let Ok(parent) = parent.canonicalize() {
        return Some((parent.join(name), PathBuf::new()));
    }
    let (first, rest) = named(parent)?;
    Some((first, rest.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_protected_is_told_from_what_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("work/.git")).unwrap();
        fs::create_dir_all(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        fs::write(root.join("work/key"), "secret").unwrap();
        fs::write(root.join("elsewhere"), "secret").unwrap();
        let grounds = Grounds {
            folder: root.join("work"),
            writable: vec![root.join("work"), root.join("link")],
            readable: vec![],
            protected: vec![root.join("work/agents/main.md"), root.join("elsewhere")],
            hidden: vec![root.join("work/key"), root.join("work/none"), root.join("elsewhere")],
        };
        let found = grounds.find().unwrap();
        assert_eq!(found.writable, [root.join("work"), root.join("real")]);
        assert_eq!(found.protected, [root.join("work/.git")]);
        assert_eq!(found.hidden, [root.join("work/key")]);
        assert!(found.unborn.contains(&root.join("work/agents")), "{found:?}");
        assert!(found.unborn.contains(&root.join("real/.git")), "{found:?}");
        assert!(!found.unborn.contains(&root.join("work/.git")), "{found:?}");
        let missing = Grounds { folder: root.join("nowhere"), ..grounds };
        assert!(missing.find().unwrap_err().to_string().contains("nowhere"));
    }
}
