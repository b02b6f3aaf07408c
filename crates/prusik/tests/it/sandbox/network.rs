//! The network: closed, sockets of other programs too.

use std::io::{Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::cage::World;

/// Servers outside, which count who comes.
struct Outside {
    folder: tempfile::TempDir,
    tcp: u16,
    udp: std::net::UdpSocket,
    datagrams: UnixDatagram,
    came: Arc<AtomicUsize>,
    abstract_name: String,
}

impl Outside {
    fn open(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("agent-").tempdir().unwrap();
        let came = Arc::new(AtomicUsize::new(0));
        let tcp = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let count = Arc::clone(&came);
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                count.fetch_add(1, Ordering::AcqRel);
                let _ = stream.write_all(b"outside says hello\n");
            }
        });
        let abstract_name = format!("prusik-test-{}-{name}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let listeners = [
            UnixListener::bind(folder.path().join("agent.sock")).unwrap(),
            UnixListener::bind_addr(&address).unwrap(),
        ];
        for listener in listeners {
            let count = Arc::clone(&came);
            std::thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    count.fetch_add(1, Ordering::AcqRel);
                    let _ = stream.write_all(b"outside says hello\n");
                    let _ = stream.read(&mut [0; 16]);
                }
            });
        }
        let datagrams = UnixDatagram::bind(folder.path().join("log.sock")).unwrap();
        datagrams.set_nonblocking(true).unwrap();
        let udp = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        udp.set_nonblocking(true).unwrap();
        Self { folder, tcp: port, udp, datagrams, came, abstract_name }
    }

    fn has_been_reached(&self) -> bool {
        let mut buffer = [0; 64];
        self.came.load(Ordering::Acquire) > 0
            || self.udp.recv(&mut buffer).is_ok()
            || self.datagrams.recv(&mut buffer).is_ok()
    }
}

const ATTEMPTS: &str = r#"
import os, socket, sys
folder, port, udp, name = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
def attempt(what, do):
    try:
        print("REACHED", what, do())
    except OSError as error:
        print("refused", what, error)
def tcp(host, family=socket.AF_INET):
    s = socket.socket(family); s.settimeout(2); s.connect((host, port)); return s.recv(64)
def unix(path):
    s = socket.socket(socket.AF_UNIX); s.settimeout(2); s.connect(path); return s.recv(64)
def datagram(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b"leak", path); return path
def pair(path):
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); a.sendto(b"leak", path); return path
def by_udp(host, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b"leak", (host, port))
    raise OSError("nobody can tell from here")
def kind(family, kind, protocol=0):
    return socket.socket(family, kind, protocol)
attempt("tcp", lambda: tcp("127.0.0.1"))
attempt("tcp of the machine", lambda: tcp(sys.argv[5]))
attempt("tcp 6", lambda: tcp("::ffff:127.0.0.1", socket.AF_INET6))
attempt("metadata", lambda: socket.create_connection(("169.254.169.254", 80), 2))
attempt("outside", lambda: socket.create_connection(("1.1.1.1", 53), 2))
attempt("dns", lambda: socket.getaddrinfo("example.com", 443))
attempt("udp", lambda: by_udp("127.0.0.1", udp))
attempt("udp of the machine", lambda: by_udp(sys.argv[5], udp))
attempt("agent", lambda: unix(folder + "/agent.sock"))
attempt("abstract", lambda: unix("\0" + name))
attempt("log", lambda: datagram(folder + "/log.sock"))
attempt("pair", lambda: pair(folder + "/log.sock"))
attempt("raw", lambda: kind(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("packet", lambda: kind(socket.AF_PACKET, socket.SOCK_RAW))
attempt("vsock", lambda: kind(40, socket.SOCK_STREAM))
attempt("alg", lambda: kind(38, socket.SOCK_SEQPACKET))
attempt("audit", lambda: kind(16, socket.SOCK_RAW, 9))
attempt("uevent", lambda: kind(16, socket.SOCK_RAW, 15))
for path in ("/run/docker.sock", "/var/run/docker.sock", "/run/dbus/system_bus_socket", "/dev/log"):
    if os.path.exists(path): attempt(path, lambda: unix(path))
print("tried")
"#;

#[tokio::test]
async fn no_socket_leads_outside() {
    for world in World::all() {
        let outside = Outside::open(world.name);
        std::fs::write(world.path("attempts.py"), ATTEMPTS).unwrap();
        let told = world
            .sh(&format!(
                "/usr/bin/python3 attempts.py {} {} {} {} {}",
                outside.folder.path().display(),
                outside.tcp,
                outside.udp.local_addr().unwrap().port(),
                outside.abstract_name,
                own_address(),
            ))
            .await;
        assert!(told.contains("tried"), "{}: {told}", world.name);
        assert!(!told.contains("REACHED") && !told.contains("hello"), "{}: {told}", world.name);
        assert!(!outside.has_been_reached(), "{}: {told}", world.name);
    }
}

/// Returns the machine's own address, as its neighbours see it.
fn own_address() -> String {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: the system only chooses a way.
    let chosen = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    chosen.map_or("127.0.0.1".to_owned(), |address| address.ip().to_string())
}

/// Tests of the command's own have their servers, where there is a network for them.
#[tokio::test]
async fn namespaces_have_a_loopback_of_their_own() {
    for world in World::all().into_iter().filter(|world| world.name == "namespaces") {
        let own = "import socket\nl = socket.create_server(('127.0.0.1', 0))\n\
                   c = socket.create_connection(l.getsockname())\nl.accept()[0].sendall(b'mine')\nprint(c.recv(9))\n";
        assert!(world.python(own).await.contains("mine"));
    }
}
