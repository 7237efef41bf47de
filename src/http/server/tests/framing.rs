//! What is a request, and what is refused before or instead of one.

use super::*;

#[tokio::test]
async fn errors_of_every_kind_are_problems_with_an_id() {
    let server = Running::start(|_| {}).await;
    let answer = server.exchange(get_request("/")).await;
    assert_eq!(status(&answer), 200, "the control");
    assert!(answer.contains("x-request-id: "), "{answer}");
    let deep = "[".repeat(60_000);
    for (request, expected) in [
        (get_request("/nowhere"), (404, "not_found")),
        (get_request("/echo"), (405, "method_not_allowed")),
        (get_request("/panic"), (503, "internal")),
        (with_length(""), (400, "empty_body")),
        (with_length("{"), (400, "invalid_json")),
        (with_length("{} x"), (400, "invalid_json")),
        (with_length(&deep), (400, "too_deep")),
        (chunked(r#"{"a":{"b":[{"k":1,"k":1}]}}"#), (400, "duplicate_key")),
        (with_length("{}").replace("application/json", "text/plain"), (400, "unsupported_media_type")),
        (get_request("/").replace("localhost", "evil.example"), (421, "host_not_allowed")),
        (get_request("/").replace("Host: localhost\r\n", ""), (400, "invalid_host")),
    ] {
        let answer = server.exchange(&request).await;
        let (status, code) = problem(&answer);
        assert_eq!((status, code.as_str()), expected, "{}", &request[..request.len().min(200)]);
        if request.contains("from-the-test") {
            assert!(answer.contains("x-request-id: from-the-test\r\n"), "{answer}");
        }
    }
    assert!(server.exchange(get_request("/echo")).await.contains("allow: POST\r\n"));
    assert_eq!(status(&server.exchange(get_request("/")).await), 200, "a panic ends its own request only");
    assert_eq!(server.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_with_and_without_a_length() {
    let server = Running::start(|limits| limits.body = 1024).await;
    let of = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
    for fits in [with_length(&of(1024)), chunked(&of(1024))] {
        assert_eq!(status(&server.exchange(fits).await), 200, "the control");
    }
    for over in [with_length(&of(1025)), chunked(&of(1025)), with_length(&of(900_000)), chunked(&of(900_000))] {
        assert_eq!(problem(&server.exchange(over).await), (413, "body_too_large".into()));
    }
    // Announced, never sent: answered without waiting for it.
    let announced = server.exchange(post_request("Content-Length: 9999999999\r\n", "")).await;
    assert_eq!(problem(&announced), (413, "body_too_large".into()));
    // So is one that asks first; and one that may come is asked for.
    let asks = "Expect: 100-continue\r\nContent-Length: ";
    assert_eq!(problem(&server.exchange(post_request(&format!("{asks}2000\r\n"), "")).await).0, 413);
    let asked = server.exchange(post_request(&format!("{asks}2\r\n"), "{}")).await;
    assert!(asked.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{asked}");
    // A deep one that is far over the limit costs its bytes and no more.
    let started = Instant::now();
    assert_eq!(problem(&server.exchange(with_length(&"[".repeat(100_000))).await).0, 413);
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn two_lengths_are_refused_wherever_they_stand() {
    let server = Running::start(|_| {}).await;
    let body = "2\r\n{}\r\n0\r\n\r\n";
    for headers in [
        "Content-Length: 12\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 12\r\n",
        "Transfer-Encoding: chunked\r\nX: y\r\ncOnTeNt-LeNgTh: 0\r\n",
        "Content-Length: 12\r\nContent-Length: 12\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let request = post_request(headers, body).replace("Connection: close\r\n", "");
        let answer = server.exchange(&request).await;
        assert_eq!(problem(&answer), (400, "ambiguous_length".into()), "{headers}");
        assert!(answer.contains("connection: close\r\n"), "and the connection ends: {answer}");
        // The same, byte by byte: the line is found across reads.
        let mut stream = server.connect().await;
        stream.set_nodelay(true).unwrap();
        for byte in request.split_inclusive("\r\n\r\n").next().unwrap().as_bytes() {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(problem(&to_end(&mut stream).await).0, 400, "{headers}");
    }
    for fine in [with_length("{}"), chunked("{}"), with_length(r#""\ncontent-length: 3""#)] {
        assert_eq!(status(&server.exchange(fine).await), 200, "the control");
    }
    // On one connection: lengths of earlier requests do not count against a later one, hidden ones do.
    let mut stream = server.connect().await;
    let stay = |request: String| request.replace("Connection: close\r\n", "");
    for request in [with_length("{}"), chunked("{}"), with_length("[]"), chunked("[]")] {
        stream.write_all(stay(request).as_bytes()).await.unwrap();
        assert_eq!(status(&one_answer(&mut stream).await), 200);
    }
    let both = stay(post_request("Transfer-Encoding: chunked\r\nContent-Length: 12\r\n", body));
    stream.write_all((stay(with_length("{}")) + &both).as_bytes()).await.unwrap();
    assert_eq!(status(&one_answer(&mut stream).await), 200, "the first of two in one write");
    assert_eq!(problem(&to_end(&mut stream).await).1, "ambiguous_length", "the second, read together with the first");
}

#[tokio::test]
async fn other_ill_framed_requests_do_not_reach_a_handler() {
    let server = Running::start(|_| {}).await;
    for request in [
        post_request("Content-Length: 2\r\nContent-Length: 3\r\n", "{}"),
        post_request("Content-Length: +2\r\n", "{}"),
        post_request("Content-Length: 2, 2\r\n", "{}"),
        post_request("Transfer-Encoding: chunked, identity\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        post_request("Transfer-Encoding : chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        post_request("X: a\r\n folded\r\nContent-Length: 2\r\n", "{}"),
        chunked("{}").replace("HTTP/1.1", "HTTP/1.0"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}".to_owned() + &"\0".repeat(40),
    ] {
        let answer = server.exchange(&request).await;
        assert!(answer.is_empty() || status(&answer) == 400, "{request:?}: {answer}");
    }
    assert_eq!(problem(&server.exchange(post_request("Transfer-Encoding: chunked\r\n", "zz\r\n{}\r\n")).await).0, 400);
}

#[tokio::test]
async fn the_header_block_is_limited() {
    let server = Running::start(|limits| limits.header_block = 16 * 1024).await;
    let with = |length: usize| get_request("/").replace("Host", &format!("X: {}\r\nHost", "x".repeat(length)));
    assert_eq!(status(&server.exchange(with(15_000)).await), 200, "the control");
    let mut stream = server.connect().await;
    stream.write_all(with(17_000).as_bytes()).await.unwrap();
    assert!(one_or_none(&mut stream).await.starts_with("HTTP/1.1 431"), "over the limit");
}

/// What came before the connection closed or was reset.
async fn one_or_none(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("the server closes").ok();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn an_answer_that_does_not_wait_for_the_body_leaves_no_remains() {
    let server = Running::start(|_| {}).await;
    let mut stream = server.connect().await;
    let request =
        with_length(r#"{"GET / HTTP/1.1":0}"#).replace("/echo", "/unread").replace("Connection: close\r\n", "");
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(problem(&one_answer(&mut stream).await), (409, "busy".into()));
    stream.write_all(get_request("/").as_bytes()).await.unwrap();
    assert_eq!(status(&to_end(&mut stream).await), 200);
}

#[tokio::test]
async fn many_requests_at_once_all_get_their_own_answer() {
    let server = std::sync::Arc::new(Running::start(|_| {}).await);
    let answered = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..20 {
        let (server, answered) = (std::sync::Arc::clone(&server), std::sync::Arc::clone(&answered));
        callers.spawn(async move {
            let mut stream = server.connect().await;
            for number in 0..20 {
                let body = format!("[{caller},{number}]");
                let request = if number % 2 == 0 { with_length(&body) } else { chunked(&body) };
                stream.write_all(request.replace("Connection: close\r\n", "").as_bytes()).await.unwrap();
                assert!(one_answer(&mut stream).await.ends_with(&body));
                answered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
    }
    callers.join_all().await;
    assert_eq!(answered.load(std::sync::atomic::Ordering::Relaxed), 400);
}
