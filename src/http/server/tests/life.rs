//! How does serving begin and end?

use std::os::unix::fs::PermissionsExt;

use tokio::{io::AsyncWrite, net::UnixStream};

use super::*;

#[tokio::test]
async fn a_drain_lets_running_requests_end_and_takes_no_new_ones() {
    let server = Running::start(|_| {}).await;
    let (mut fresh, mut idle, mut busy) = (server.connect().await, server.connect().await, server.connect().await);
    idle.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    one_answer(&mut idle).await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    sleep(SHORT).await;
    let Listen::Tcp(address) = server.address.clone() else { panic!("not TCP") };
    let stopping = tokio::spawn(server.stop());
    sleep(SHORT / 2).await;
    assert!(!stopping.is_finished(), "the running request is still running");
    assert!(TcpStream::connect(address).await.is_err(), "and nobody listens any more");
    let answer = to_end(&mut busy).await;
    assert_eq!(status(&answer), 200, "the running request got its answer, and its connection ended");
    assert!(answer.ends_with("slow"), "{answer}");
    assert!(closes(&mut idle).await < SHORT * 4);
    assert!(closes(&mut fresh).await < SHORT * 4);
    assert_eq!(stopping.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn a_drain_is_bounded() {
    let server = Running::start(|limits| limits.drain = SHORT).await;
    let mut stuck = server.connect().await;
    stuck.write_all(get_request("/never").as_bytes()).await.unwrap();
    sleep(SHORT / 2).await;
    let started = Instant::now();
    assert_eq!(server.stop().await, Drained { cut: 1 });
    assert!(started.elapsed() < SHORT * 5, "{:?}", started.elapsed());
    closes(&mut stuck).await;
}

async fn over(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> u16 {
    stream.write_all(get_request("/").as_bytes()).await.unwrap();
    status(&to_end(&mut stream).await)
}

#[tokio::test]
async fn a_unix_socket_is_for_owner_and_group_and_goes_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mandate.sock");
    let listen = Listen::Unix(path.clone());
    let server = Running::on(listen.clone(), |_| {}).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left in the folder");
    assert_eq!(over(UnixStream::connect(&path).await.unwrap()).await, 200);
    // In use: the second one is refused, the first one lives on.
    let error = Listener::bind(&listen).await.unwrap_err().to_string();
    assert!(error.contains("somebody answers on this socket") && error.contains("mandate.sock"), "{error}");
    assert_eq!(over(UnixStream::connect(&path).await.unwrap()).await, 200);
    assert_eq!(server.stop().await, Drained { cut: 0 });
    assert!(!path.exists(), "removed with the server");
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_other_files_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mandate.sock");
    // Left behind: std's listener does not remove its file.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = Running::on(Listen::Unix(path.clone()), |_| {}).await;
    assert_eq!(over(UnixStream::connect(&path).await.unwrap()).await, 200);
    // Somebody put another file in its place meanwhile: it is not ours to remove.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    server.stop().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    let error = Listener::bind(&Listen::Unix(path.clone())).await.unwrap_err().to_string();
    assert!(error.contains("not a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let server = Running::start(|_| {}).await;
    let error = Listener::bind(&server.address).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on `{}`", server.address)), "{error}");
}

#[tokio::test]
async fn sigterm_and_sigint_ask_to_stop() {
    for signal in ["-TERM", "-INT"] {
        let asked = stop_signal().unwrap();
        let mut asked = std::pin::pin!(asked);
        assert!(timeout(SHORT, &mut asked).await.is_err(), "the control: nobody asked yet");
        let sent = std::process::Command::new("kill").args([signal, &std::process::id().to_string()]).status();
        assert!(sent.unwrap().success());
        timeout(PATIENCE, asked).await.expect("the signal arrives");
    }
}
