//! The relay for a server that is reached by `http://`: it listens on this machine and passes requests
//! on, each on a connection of its own, so that the end of an answer is the end of a connection.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::relay::{Back, Control, Mark, Onward, Switch};

/// Largest head and body of a request.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long an answer that will be lost is waited for.
const LOST_TIMEOUT: Duration = Duration::from_mins(1);
const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A relay that runs until it is dropped.
#[derive(Debug)]
pub struct HttpRelay {
    /// Where it listens.
    pub url: String,
    task: JoinHandle<()>,
}

impl HttpRelay {
    /// Starts a relay to `url`; none if it is not of the kind that can be relayed.
    pub async fn start(url: &str, control: Control) -> io::Result<Option<Self>> {
        let Some(rest) = url.strip_prefix("http://") else { return Ok(None) };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Ok(None);
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}{path}", listener.local_addr()?);
        let relay =
            Arc::new(Relay { authority: authority.to_owned(), control, switch: Mutex::default() });
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let relay = Arc::clone(&relay);
                // A connection that fails is one that its client sees fail.
                tokio::spawn(async move { relay.serve(client).await });
            }
        });
        Ok(Some(Self { url, task }))
    }
}

impl Drop for HttpRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Relay {
    authority: String,
    control: Control,
    switch: Mutex<Switch>,
}

/// A request as it came.
struct Request {
    /// The first line and the headers, without those that belong to one connection.
    head: Vec<String>,
    body: Vec<u8>,
}

impl Relay {
    async fn serve(self: Arc<Self>, mut client: TcpStream) -> io::Result<()> {
        let Some(Request { head, body }) = read_request(&mut client).await? else { return Ok(()) };
        if body.is_empty() {
            return self.pass(&head, &body, &mut client).await;
        }
        let Onward { lines, mark } = {
            let mut switch = self.switch.lock().unwrap_or_else(PoisonError::into_inner);
            switch.request(&[&body[..], b"\n"].concat(), || self.control.take())
        };
        if let Some(mark) = mark {
            self.control.mark(mark);
            // Whoever sent it gives it up; it is passed on with the next call.
            let _ = client.read(&mut [0; 1]).await;
            return Ok(());
        }
        let mut messages: Vec<Vec<u8>> =
            lines.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        messages.retain(|message| !message.is_empty());
        let Some(last) = messages.pop() else { return client.write_all(ACCEPTED).await };
        for earlier in messages {
            let (relay, head) = (Arc::clone(&self), head.clone());
            tokio::spawn(async move { relay.lose(&head, &earlier).await });
        }
        match self.fault_of(&last) {
            Some(Back::Pass) | None => self.pass(&head, &last, &mut client).await,
            Some(Back::Drop(mark)) => {
                self.answer(&head, &last).await?;
                self.control.mark(mark);
                Ok(())
            }
            Some(Back::Cut(_)) => {
                let answer = self.answer(&head, &last).await?;
                client.write_all(&answer[..answer.len() - answer.len() / 4]).await?;
                client.shutdown().await?;
                self.control.mark(Mark::Lost);
                Ok(())
            }
        }
    }

    /// Returns what befalls the answer to a message; none if it is no request.
    fn fault_of(&self, message: &[u8]) -> Option<Back> {
        let message: Value = serde_json::from_slice(message).ok()?;
        let answer = json!({"id": message.get("id")?, "result": {}}).to_string();
        let mut switch = self.switch.lock().unwrap_or_else(PoisonError::into_inner);
        Some(switch.reply(answer.as_bytes()))
    }

    /// Passes on a message whose answer nobody waits for.
    async fn lose(&self, head: &[String], message: &[u8]) -> io::Result<()> {
        let fault = self.fault_of(message);
        self.answer(head, message).await?;
        if let Some(Back::Drop(mark)) = fault {
            self.control.mark(mark);
        }
        Ok(())
    }

    async fn send(&self, head: &[String], body: &[u8]) -> io::Result<TcpStream> {
        let has_port = self.authority.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        let address =
            if has_port { self.authority.clone() } else { format!("{}:80", self.authority) };
        let mut server = TcpStream::connect(address).await?;
        let mut text = head.join("\r\n");
        text.push_str(&format!("\r\nhost: {}\r\nconnection: close\r\n", self.authority));
        if !body.is_empty() {
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        server.write_all(text.as_bytes()).await?;
        server.write_all(body).await?;
        Ok(server)
    }

    /// Returns the whole answer.
    async fn answer(&self, head: &[String], body: &[u8]) -> io::Result<Vec<u8>> {
        let mut server = self.send(head, body).await?;
        let mut answer = Vec::new();
        let whole = server.read_to_end(&mut answer);
        tokio::time::timeout(LOST_TIMEOUT, whole).await.map_err(io::Error::other)??;
        Ok(answer)
    }

    /// Passes the answer on as it comes.
    async fn pass(&self, head: &[String], body: &[u8], client: &mut TcpStream) -> io::Result<()> {
        let mut server = self.send(head, body).await?;
        let (answer_head, rest) = read_head(&mut server).await?;
        let mut lines = kept(&answer_head, &["connection", "keep-alive"]);
        lines.push("connection: close\r\n\r\n".to_owned());
        client.write_all(lines.join("\r\n").as_bytes()).await?;
        client.write_all(&rest).await?;
        tokio::io::copy(&mut server, client).await?;
        client.shutdown().await
    }
}

async fn read_request(client: &mut TcpStream) -> io::Result<Option<Request>> {
    let (text, mut body) = read_head(client).await?;
    if text.is_empty() {
        return Ok(None);
    }
    let header = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    if header("transfer-encoding").is_some() {
        return Err(io::Error::other("a request in pieces is not relayed"));
    }
    let length: usize = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    if length > BODY_BYTES_MAX {
        return Err(io::Error::other("a request is too large to be relayed"));
    }
    let had = body.len().min(length);
    body.resize(length, 0);
    client.read_exact(&mut body[had..]).await?;
    Ok(Some(Request { head: kept(&text, &["host", "connection", "content-length"]), body }))
}

/// Returns the head of a message, and what of its body came with it.
async fn read_head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("the head of a message is too large to be relayed"));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok((String::new(), Vec::new()));
        }
    }
}

/// Returns the lines of a head without the named headers.
fn kept(head: &str, without: &[&str]) -> Vec<String> {
    let lines = head.lines().filter(|line| !line.is_empty());
    let is_kept = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default();
        !without.iter().any(|without| name.eq_ignore_ascii_case(without))
    };
    lines.filter(is_kept).map(str::to_owned).collect()
}
