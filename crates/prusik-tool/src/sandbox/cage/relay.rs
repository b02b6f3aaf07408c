//! From a port of the cage's own loopback to the host's filtering proxy.
//!
//! Programs know proxies by host and port, and the namespace has no way out but a socket that the
//! host put into it.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;

/// Listens, and returns the port.
pub fn start(proxy: &Path) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let proxy = proxy.to_owned();
    thread::spawn(move || accept(&listener, &proxy));
    Ok(port)
}

fn accept(listener: &TcpListener, proxy: &Path) {
    let open = Arc::new(AtomicUsize::new(0));
    // An error of one connection is not the next one's.
    for stream in listener.incoming().flatten() {
        if open.load(Ordering::Acquire) >= CONNECTIONS_MAX {
            continue;
        }
        open.fetch_add(1, Ordering::AcqRel);
        let (proxy, open): (PathBuf, _) = (proxy.to_owned(), Arc::clone(&open));
        thread::spawn(move || {
            let _ = carry(&stream, &proxy);
            open.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

fn carry(inside: &TcpStream, proxy: &Path) -> io::Result<()> {
    let outside = UnixStream::connect(proxy)?;
    let (mut from_inside, mut to_outside) = (inside.try_clone()?, outside.try_clone()?);
    let there = thread::spawn(move || {
        let _ = io::copy(&mut from_inside, &mut to_outside);
        let _ = to_outside.shutdown(Shutdown::Write);
    });
    let (mut from_outside, mut to_inside) = (outside, inside.try_clone()?);
    let _ = io::copy(&mut from_outside, &mut to_inside);
    let _ = to_inside.shutdown(Shutdown::Write);
    let _ = there.join();
    Ok(())
}
