//! What the filtering proxy lets through, and what it does not.

use tokio::net::TcpListener;

use super::*;

fn domains(texts: &[&str]) -> Vec<Domain> {
    texts.iter().map(|text| Domain::parse(text).unwrap()).collect()
}

#[test]
fn only_names_of_the_public_network_can_be_granted() {
    for good in ["example.com", "*.example.com", "Example.COM:8443", "xn--bcher-kva.example.org"] {
        assert_eq!(Domain::parse(good).unwrap().to_string(), good.to_lowercase());
    }
    for bad in [
        "",
        "*",
        "*.",
        "com",
        "localhost",
        "a.localhost",
        "127.0.0.1",
        "169.254.169.254",
        "0x7f.1",
        "2130706433",
        "[::1]",
        "::1",
        "https://example.com",
        "example.com/x",
        "example.com:0",
        "example.com:99999",
        "metadata.google.internal",
        "exa mple.com",
        "example..com",
        "a@b.com",
    ] {
        assert!(Domain::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_grant_covers_its_name_and_no_other() {
    let covers = |domain: &str, name: &str, port| Domain::parse(domain).unwrap().covers(name, port);
    assert!(covers("example.com", "EXAMPLE.com", 443) && covers("example.com", "example.com", 80));
    assert!(!covers("example.com", "www.example.com", 443));
    assert!(!covers("example.com", "badexample.com", 443));
    assert!(!covers("example.com", "example.com.evil.org", 443));
    assert!(!covers("example.com", "example.com", 22));
    assert!(covers("*.example.com", "a.b.example.com", 443));
    assert!(!covers("*.example.com", "example.com", 443));
    assert!(!covers("*.example.com", ".example.com", 443));
    assert!(covers("example.com:22", "example.com", 22));
    assert!(!covers("example.com:22", "example.com", 443));
}

#[test]
fn addresses_of_this_machine_and_its_neighbours_are_not_public() {
    for special in [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.19.255.1",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "100::1",
    ] {
        assert!(!is_public(special.parse().unwrap()), "{special}");
    }
    for public in [
        "8.8.8.8",
        "100.128.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "2606:4700::1111",
        "2001:4860::8888",
        "3fff:1000::1",
    ] {
        assert!(is_public(public.parse().unwrap()), "{public}");
    }
}

#[test]
fn a_plain_request_is_told_one_name_and_has_one_body() {
    let asked =
        b"POST http://a.example.com:81/x?y HTTP/1.1\r\nHost: evil.org\r\nContent-Length: 3\r\n\
                  Proxy-Connection: keep-alive\r\nAccept: */*\r\n\r\n";
    let request = Request::parse(asked).unwrap();
    assert_eq!((request.host.as_str(), request.port), ("a.example.com", 81));
    let Rest::Plain { head, body_bytes: 3 } = request.rest else { panic!("it is plain") };
    let head = String::from_utf8(head).unwrap();
    assert_eq!(
        head,
        "POST /x?y HTTP/1.1\r\nHost: a.example.com:81\r\nContent-Length: 3\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    for bad in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET https://example.com/ HTTP/1.1\r\n\r\n",
        "CONNECT example.com HTTP/1.1\r\n\r\n",
        "POST http://e.com/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET http://e.com/ HTTP/1.1 x\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        assert_eq!(Request::parse(bad.as_bytes()), None, "{bad}");
    }
    // Whoever hides a host in front of an `@` names what is behind it; it is no name.
    let at = Request::parse(b"GET http://example.com@evil.org/ HTTP/1.1\r\n\r\n").unwrap();
    assert!(problem_of(&at.host).is_some());
}

/// Names of a small world: `one.example.com` is a server on this machine, `bound.example.com` leads to what
/// clouds tell their machines.
fn small_world(name: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
    Box::pin(async move {
        let address =
            if name == "bound.example.com" { [169, 254, 169, 254] } else { [127, 0, 0, 1] };
        Ok(vec![SocketAddr::from((address, port))])
    })
}

async fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut read = vec![0; 4096];
            let count = stream.read(&mut read).await.unwrap();
            let body = format!("seen: {}", String::from_utf8_lossy(&read[..count]));
            let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    port
}

async fn ask(proxy: &Proxy, request: &str) -> String {
    let mut stream = UnixStream::connect(proxy.socket()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn what_is_granted_goes_through_and_nothing_else_does() {
    let port = server().await;
    let granted = domains(&[&format!("*.example.com:{port}"), "bound.example.com"]);
    let outside = Outside { resolve: small_world, permits: |address| address.is_loopback() };
    let proxy = Proxy::start_to(granted, outside).unwrap();

    let plain = format!("GET http://one.example.com:{port}/x HTTP/1.1\r\nHost: other\r\n\r\n");
    let answer = ask(&proxy, &plain).await;
    assert!(answer.contains("seen: GET /x HTTP/1.1"), "{answer}");
    assert!(answer.contains(&format!("Host: one.example.com:{port}")), "{answer}");

    let tunnel = format!("CONNECT one.example.com:{port} HTTP/1.1\r\n\r\nhello");
    let answer = ask(&proxy, &tunnel).await;
    assert!(answer.starts_with("HTTP/1.1 200 Connection established\r\n\r\n"), "{answer}");
    assert!(answer.contains("seen: hello"), "{answer}");

    for (request, word) in [
        (format!("CONNECT other.org:{port} HTTP/1.1\r\n\r\n"), "not granted"),
        ("CONNECT one.example.com:22 HTTP/1.1\r\n\r\n".to_owned(), "not granted"),
        (format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n"), "an address"),
        (format!("CONNECT [::1]:{port} HTTP/1.1\r\n\r\n"), "403"),
        (format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\n"), "this machine"),
        ("CONNECT 169.254.169.254:80 HTTP/1.1\r\n\r\n".to_owned(), "an address"),
        ("GET http://2130706433/ HTTP/1.1\r\n\r\n".to_owned(), "an address"),
        ("CONNECT bound.example.com:443 HTTP/1.1\r\n\r\n".to_owned(), "not in the public network"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "no request that a proxy can take"),
        (format!("GET http://one.example.com/{} HTTP/1.1\r\n\r\n", "x".repeat(20_000)), "400"),
    ] {
        let answer = ask(&proxy, &request).await;
        assert!(answer.contains(word) && answer.contains("prusik: "), "{request}: {answer}");
    }

    let socket = proxy.socket();
    drop(proxy);
    assert!(UnixStream::connect(&socket).await.is_err());
}

#[tokio::test]
async fn the_real_outside_refuses_names_that_lead_to_this_machine() {
    // Resolved to loopback and judged by the real rule.
    let outside = Outside { resolve: small_world, ..Outside::REAL };
    let proxy = Proxy::start_to(domains(&["one.example.com"]), outside).unwrap();
    let answer = ask(&proxy, "CONNECT one.example.com:443 HTTP/1.1\r\n\r\n").await;
    assert!(answer.contains("403") && answer.contains("127.0.0.1"), "{answer}");
}
