//! The way into the network for a sandbox that was granted domains: a proxy on the host that leads there
//! and nowhere else.
//!
//! It takes a tunnel (`CONNECT`) or one plain request for each connection. The name decides, and it is
//! resolved here, once: the address that was looked at is the one that is connected to, so that a name
//! cannot be one thing when it is judged and another when it is used. Addresses that are not the public
//! network's are refused whatever they are called. What goes through a tunnel is not looked at.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// What is read of a request that was refused.
const REST_BYTES_MAX: u64 = 1024 * 1024;
/// How long a client may take to say what it wants, and a server to be reached.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// A domain that is granted: `example.com` for itself, `*.example.com` for all below it. With a port, that
/// port; without, those of HTTP and HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    name: String,
    below: Below,
    port: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    Itself,
    AllBelow,
}

/// Why a text is no domain that can be granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no domain that can be granted: {why}")]
pub struct DomainError {
    text: String,
    why: &'static str,
}

impl Domain {
    /// Reads `example.com`, `*.example.com` or `example.com:8443`.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        let no = |why| Err(DomainError { text: text.to_owned(), why });
        let (below, rest) = match text.strip_prefix("*.") {
            Some(rest) => (Below::AllBelow, rest),
            None => (Below::Itself, text),
        };
        if rest.contains("://") || rest.contains('/') {
            return no("write the name alone, without https:// and path");
        }
        let (name, port) = match rest.split_once(':') {
            Some((name, port)) => match port.parse() {
                Ok(port) if port != 0 => (name, Some(port)),
                _ => {
                    return no(
                        "the port is a number from 1 to 65535, and addresses cannot be granted",
                    );
                }
            },
            None => (rest, None),
        };
        match problem_of(name) {
            Some(why) => no(why),
            None => Ok(Self { name: name.to_ascii_lowercase(), below, port }),
        }
    }

    fn covers(&self, name: &str, port: u16) -> bool {
        let name = name.to_ascii_lowercase();
        let is_named = match self.below {
            Below::Itself => name == self.name,
            Below::AllBelow => name
                .strip_suffix(&self.name)
                .is_some_and(|rest| rest.ends_with('.') && rest.len() > 1),
        };
        is_named && self.port.map_or([HTTP_PORT, HTTPS_PORT].contains(&port), |own| own == port)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = match self.below {
            Below::Itself => "",
            Below::AllBelow => "*.",
        };
        write!(f, "{star}{}", self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Returns why a name is not one that is looked up in the public network.
fn problem_of(name: &str) -> Option<&'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let labels: Vec<&str> = name.split('.').collect();
    if labels
        .iter()
        .any(|label| label.is_empty() || label.len() > 63 || !label.chars().all(is_plain))
    {
        return Some("a name has letters, digits, `-` and dots");
    }
    let last = labels.last().copied().unwrap_or_default();
    // The last part of an address in whatever spelling (10.0.0.1, 0x7f.1, 2130706433) begins with a digit.
    if last.starts_with(|c: char| c.is_ascii_digit()) {
        return Some("it is an address, and only names can be granted");
    }
    let local =
        ["localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "arpa"];
    if labels.len() < 2 || local.iter().any(|other| last.eq_ignore_ascii_case(other)) {
        return Some("it is a name of this machine or its own network");
    }
    None
}

/// Returns whether an address belongs to the public network: not this machine, not its neighbours, not what
/// the cloud tells its machines, not a group.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The special ones of <https://www.iana.org/assignments/iana-ipv4-special-registry>.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match a {
        // This machine, a neighbourhood; groups, and what is kept for later.
        0 | 10 | 127 | 224.. => true,
        100 => (64..128).contains(&b),
        169 => b == 254,
        172 => (16..32).contains(&b),
        192 => matches!((b, c), (168, _) | (0, 0 | 2) | (88, 99)),
        198 => matches!((b, c), (18 | 19, _) | (51, 100)),
        203 => (b, c) == (0, 113),
        _ => false,
    };
    !is_special
}

/// Only global unicast counts, less what in it means something else: protocol assignments and Teredo,
/// documentation, and 6to4, which carries an IPv4 address. An IPv4 address in IPv6's clothes is outside of that.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    (a & 0xe000) == 0x2000
        && !(a == 0x2001 && b < 0x0200)
        && (a, b) != (0x2001, 0x0db8)
        && a != 0x2002
        && !(a == 0x3fff && b < 0x1000)
}

/// How names become addresses, and which of those are connected to. Tests have a network of their own.
pub(super) struct Outside {
    pub resolve: fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>,
    pub permits: fn(IpAddr) -> bool,
}

impl Outside {
    const REAL: Self = Self { resolve, permits: is_public };
}

fn resolve(name: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
    Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) })
}

/// A proxy that listens until it is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    folder: tempfile::TempDir,
    _stop: DropGuard,
}

impl Proxy {
    /// Listens on a socket in a folder of its own, which nobody else can enter.
    pub fn start(domains: Vec<Domain>) -> io::Result<Self> {
        Self::start_to(domains, Outside::REAL)
    }

    pub fn start_to(domains: Vec<Domain>, outside: Outside) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("prusik-proxy-").tempdir()?;
        let listener = UnixListener::bind(socket_in(folder.path()))?;
        let stop = CancellationToken::new();
        let gate = Arc::new(Gate { domains, outside });
        tokio::spawn(listen(listener, gate, stop.clone()));
        Ok(Self { folder, _stop: stop.drop_guard() })
    }

    pub fn socket(&self) -> PathBuf {
        socket_in(self.folder.path())
    }
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join("proxy.sock")
}

struct Gate {
    domains: Vec<Domain>,
    outside: Outside,
}

async fn listen(listener: UnixListener, gate: Arc<Gate>, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (Ok((client, _)), Ok(place)) = (accepted, Arc::clone(&room).acquire_owned().await)
        else {
            continue;
        };
        let (gate, stop) = (Arc::clone(&gate), stop.clone());
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                // What went wrong the client has been told.
                _ = gate.serve(client) => {}
            }
        });
    }
}

/// A refusal, as the client is told.
struct Refused {
    status: &'static str,
    why: String,
}

fn refused(status: &'static str, why: impl Into<String>) -> Refused {
    Refused { status, why: why.into() }
}

const BAD: &str = "400 Bad Request";
const FORBIDDEN: &str = "403 Forbidden";
const UNREACHABLE: &str = "502 Bad Gateway";

impl Gate {
    async fn serve(&self, mut client: UnixStream) -> io::Result<()> {
        let asked = match tokio::time::timeout(PATIENCE, head(&mut client)).await {
            Ok(Ok(Some(asked))) => self.open(asked).await,
            Ok(Ok(None)) => Err(refused(BAD, "this is no request that a proxy can take")),
            Ok(Err(error)) => return Err(error),
            Err(_) => Err(refused("408 Request Timeout", "the request did not come")),
        };
        match asked {
            Ok(Way::Tunnel { mut server, early }) => {
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
                server.write_all(&early).await?;
                copy_bidirectional(&mut client, &mut server).await.map(|_| ())
            }
            Ok(Way::Request { mut server, head, early, body_bytes }) => {
                server.write_all(&head).await?;
                let early = &early[..early.len().min(usize::try_from(body_bytes).unwrap_or(0))];
                server.write_all(early).await?;
                // No more than this one request: another might be for somebody else at the same address.
                let (mut from, mut to) = client.split();
                let (mut answer, mut body) = server.split();
                let mut rest = (&mut from).take(body_bytes - early.len() as u64);
                let there = async { tokio::io::copy(&mut rest, &mut body).await.map(|_| ()) };
                let back = async { tokio::io::copy(&mut answer, &mut to).await.map(|_| ()) };
                tokio::try_join!(there, back).map(|_| ())
            }
            Err(Refused { status, why }) => {
                let why = format!("prusik: {why}\n");
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n",
                    why.len()
                );
                client.write_all(head.as_bytes()).await?;
                client.write_all(why.as_bytes()).await?;
                client.shutdown().await?;
                // What nobody has read would take the answer back with it.
                let mut rest = client.take(REST_BYTES_MAX);
                let mut nowhere = tokio::io::sink();
                let drained = tokio::io::copy(&mut rest, &mut nowhere);
                let _ = tokio::time::timeout(PATIENCE, drained).await;
                Ok(())
            }
        }
    }

    async fn open(&self, (head, early): (Vec<u8>, Vec<u8>)) -> Result<Way, Refused> {
        let request = Request::parse(&head)
            .ok_or_else(|| refused(BAD, "this is no request that a proxy can take"))?;
        let (host, port) = (request.host.clone(), request.port);
        if let Some(why) = problem_of(&host) {
            return Err(refused(FORBIDDEN, format!("`{host}` is refused: {why}")));
        }
        if !self.domains.iter().any(|domain| domain.covers(&host, port)) {
            let granted: Vec<String> = self.domains.iter().map(ToString::to_string).collect();
            return Err(refused(
                FORBIDDEN,
                format!("`{host}:{port}` is not granted; granted are {}", granted.join(", ")),
            ));
        }
        let reach = async {
            let found = (self.outside.resolve)(host.clone(), port).await;
            let found =
                found.map_err(|error| refused(UNREACHABLE, format!("`{host}`: {error}")))?;
            // One bad address among them is one too many: the name is not what it was granted as.
            if let Some(bad) = found.iter().find(|found| !(self.outside.permits)(found.ip())) {
                let why = format!("`{host}` is {}, which is not in the public network", bad.ip());
                return Err(refused(FORBIDDEN, why));
            }
            let reached = TcpStream::connect(&found[..]).await;
            reached.map_err(|error| refused(UNREACHABLE, format!("`{host}`: {error}")))
        };
        let server = tokio::time::timeout(PATIENCE, reach)
            .await
            .map_err(|_| refused("504 Gateway Timeout", format!("`{host}` does not answer")))??;
        Ok(match request.rest {
            Rest::Tunnel => Way::Tunnel { server, early },
            Rest::Plain { head, body_bytes } => Way::Request { server, head, early, body_bytes },
        })
    }
}

enum Way {
    Tunnel { server: TcpStream, early: Vec<u8> },
    Request { server: TcpStream, head: Vec<u8>, early: Vec<u8>, body_bytes: u64 },
}

/// Reads up to the end of a request's head. Returns it and what came behind it.
async fn head(client: &mut UnixStream) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut read = Vec::new();
    let mut part = [0; 2048];
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let early = read.split_off(end + 4);
            return Ok(Some((read, early)));
        }
        if read.len() > HEAD_BYTES_MAX {
            return Ok(None);
        }
        match client.read(&mut part).await? {
            0 => return Ok(None),
            count => read.extend_from_slice(&part[..count]),
        }
    }
}

/// What a client asks of a proxy.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    host: String,
    port: u16,
    rest: Rest,
}

#[derive(Debug, PartialEq, Eq)]
enum Rest {
    Tunnel,
    /// The head as the server is to see it.
    Plain {
        head: Vec<u8>,
        body_bytes: u64,
    },
}

impl Request {
    fn parse(head: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(head).ok()?;
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target, version) = (first.next()?, first.next()?, first.next()?);
        if first.next().is_some() || !version.starts_with("HTTP/1.") {
            return None;
        }
        if method == "CONNECT" {
            let (host, port) = target.rsplit_once(':')?;
            return Some(Self {
                host: host.to_owned(),
                port: port.parse().ok()?,
                rest: Rest::Tunnel,
            });
        }
        let rest = target.strip_prefix("http://")?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, HTTP_PORT),
        };
        // The name that was judged is the only one that the server is told.
        let mut sent = format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\n");
        let mut body_bytes = 0;
        for line in lines {
            let (name, value) = line.split_once(':')?;
            // A body of unknown length could hide another request.
            match name.to_ascii_lowercase().as_str() {
                "transfer-encoding" | "upgrade" => return None,
                "content-length" => body_bytes = value.trim().parse().ok()?,
                "host"
                | "connection"
                | "keep-alive"
                | "proxy-connection"
                | "proxy-authorization" => continue,
                _ => {}
            }
            sent.push_str(&format!("{line}\r\n"));
        }
        sent.push_str("Connection: close\r\n\r\n");
        let rest = Rest::Plain { head: sent.into_bytes(), body_bytes };
        Some(Self { host: host.to_owned(), port, rest })
    }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
