//! What may one caller keep from others: time and places.

use super::*;

#[tokio::test]
async fn a_slow_header_is_cut_and_an_idle_connection_is_not() {
    let server = Running::start(|limits| {
        limits.header_timeout = SHORT;
        limits.idle = SHORT * 6;
    })
    .await;
    // One byte at a time, each well within the limit: the whole counts.
    let mut dribbling = server.connect().await;
    let started = Instant::now();
    let mut sent = 0;
    for byte in get_request("/").bytes().cycle().filter(|byte| *byte != b'\n') {
        if dribbling.write_all(&[byte]).await.is_err() || started.elapsed() > PATIENCE {
            break;
        }
        sent += 1;
        sleep(SHORT / 10).await;
    }
    assert!(started.elapsed() < SHORT * 5 && sent > 3, "cut after {:?} and {sent} bytes", started.elapsed());
    // The control: silent for longer than a header may take, before and between requests.
    let mut idle = server.connect().await;
    for _ in 0..3 {
        sleep(SHORT * 2).await;
        idle.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert_eq!(status(&one_answer(&mut idle).await), 200);
    }
    // A second header on the same connection has the short time again.
    idle.write_all(b"GET / HT").await.unwrap();
    let took = closes(&mut idle).await;
    assert!((SHORT / 2..SHORT * 4).contains(&took), "{took:?}");
}

#[tokio::test]
async fn an_idle_connection_ends_and_a_working_handler_is_not_idle() {
    let server = Running::start(|limits| limits.idle = SHORT).await;
    let mut never_spoke = server.connect().await;
    let took = closes(&mut never_spoke).await;
    assert!((SHORT / 2..SHORT * 6).contains(&took), "{took:?}");
    let mut spoke = server.connect().await;
    spoke.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    one_answer(&mut spoke).await;
    let took = closes(&mut spoke).await;
    assert!((SHORT / 2..SHORT * 6).contains(&took), "{took:?}");
    let answer = server.exchange(get_request("/slow")).await;
    assert_eq!(status(&answer), 200, "a handler that works three times as long");
}

#[tokio::test]
async fn a_slow_body_is_408_in_total_time() {
    let server = Running::start(|limits| limits.body_timeout = SHORT).await;
    let mut stream = server.connect().await;
    stream.write_all(post_request("Content-Length: 1000\r\n", "").as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let dribble = tokio::spawn(async move {
        while writing.write_all(b" ").await.is_ok() {
            sleep(SHORT / 10).await;
        }
    });
    let started = Instant::now();
    assert_eq!(problem(&one_answer(&mut reading).await), (408, "body_timeout".into()));
    assert!(started.elapsed() < SHORT * 5, "{:?}", started.elapsed());
    dribble.abort();
    let mut stream = server.connect().await;
    stream.write_all(post_request("Content-Length: 2\r\n", "").as_bytes()).await.unwrap();
    sleep(SHORT / 3).await;
    stream.write_all(b"{}").await.unwrap();
    assert_eq!(status(&to_end(&mut stream).await), 200, "the control: late, but in time");
}

#[tokio::test]
async fn a_caller_that_takes_no_answer_is_cut_and_a_slow_one_is_not() {
    let server = Running::start(|limits| limits.idle = SHORT).await;
    for path in ["/large", "/stream"] {
        let mut stream = server.connect().await;
        stream.write_all(get_request(path).as_bytes()).await.unwrap();
        sleep(SHORT * 6).await;
        let mut taken = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut taken)).await.expect("the server closes").ok();
        assert!(taken.len() < LARGE, "{path} is cut in the middle: {} bytes", taken.len());
        // The control: slower than the limit in all, but never silent for so long.
        let mut stream = server.connect().await;
        stream.write_all(get_request(path).as_bytes()).await.unwrap();
        let (started, mut length, mut buffer) = (Instant::now(), 0, vec![0; LARGE / 10]);
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            length += read;
            if started.elapsed() < SHORT * 4 {
                sleep(SHORT / 8).await;
            }
        }
        assert!(length > LARGE, "{path}: {length} bytes");
        assert!(started.elapsed() > SHORT * 2, "{path} took {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn connections_over_the_limit_wait_outside() {
    let server = Running::start(|limits| limits.connections = 2).await;
    let mut first = server.connect().await;
    let second = server.connect().await;
    for stream in [&mut first] {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert_eq!(status(&one_answer(stream).await), 200, "the control: below the limit");
    }
    let mut third = server.connect().await;
    third.write_all(get_request("/").as_bytes()).await.unwrap();
    let mut byte = [0];
    assert!(timeout(SHORT, third.read(&mut byte)).await.is_err(), "no answer while both places are taken");
    drop(second);
    assert_eq!(status(&to_end(&mut third).await), 200, "a place is free");
}

#[tokio::test]
async fn a_flood_of_dribbling_connections_does_not_keep_others_out() {
    let server = Running::start(|limits| limits.header_timeout = SHORT).await;
    let mut flood = Vec::new();
    for _ in 0..300 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET").await.unwrap();
        flood.push(stream);
    }
    let started = Instant::now();
    assert_eq!(status(&server.exchange(get_request("/")).await), 200);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    for stream in &mut flood {
        closes(stream).await;
    }
}
