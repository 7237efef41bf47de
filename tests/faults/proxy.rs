//! What lies between two processes: a TCP proxy that can hold bytes up, slow them down and cut connections.
//!
//! Each direction has its own [`Way`], switched while connections are open. Bytes are never lost inside a connection, as
//! TCP does not lose them: what is held arrives late, or the connection ends.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;

/// Between two looks at what the proxy is told.
const LOOK: Duration = Duration::from_millis(2);

/// What becomes of the bytes that go one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// They arrive.
    Pass,
    /// They wait until the way is another; nobody hears that a connection has ended.
    Hold,
    /// They arrive so much later.
    Late(Duration),
    /// One after the other, with this pause between.
    Drip(Duration),
    /// The next ones pass, all after them wait.
    OneThenHold,
    /// When so many bytes have passed, the connection ends.
    CutAfter(u64),
}

#[derive(Debug)]
struct State {
    upstream: Mutex<SocketAddr>,
    /// From whoever connected, and back.
    to: Mutex<Way>,
    back: Mutex<Way>,
    /// Connections that began before this counts on are over.
    cuts: AtomicU64,
    /// Chunks that have passed from whoever connected.
    passed: AtomicU64,
    closed: AtomicBool,
    /// What goes to the upstream in one piece, and what arrives there instead.
    instead: Mutex<Option<(Vec<u8>, Vec<u8>)>>,
}

/// A proxy; ends its connections when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

impl Proxy {
    /// One that passes everything on to `upstream`.
    pub fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            upstream: Mutex::new(upstream),
            to: Mutex::new(Way::Pass),
            back: Mutex::new(Way::Pass),
            cuts: AtomicU64::default(),
            passed: AtomicU64::default(),
            closed: AtomicBool::default(),
            instead: Mutex::default(),
        });
        let accepting = Arc::clone(&state);
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if accepting.closed.load(Ordering::Acquire) {
                    return;
                }
                let state = Arc::clone(&accepting);
                thread::spawn(move || state.serve(client));
            }
        });
        Self { address, state }
    }
    pub fn port(&self) -> u16 {
        self.address.port()
    }
    /// Sets the way to the upstream, and the way back.
    pub fn set(&self, to: Way, back: Way) {
        (*self.state.to.lock(), *self.state.back.lock()) = (to, back);
    }
    /// A network that is gone: nothing arrives either way, and nobody is told.
    pub fn blackhole(&self) {
        self.set(Way::Hold, Way::Hold);
    }
    /// As at first; what was held arrives.
    pub fn heal(&self) {
        self.set(Way::Pass, Way::Pass);
    }
    /// Ends every connection.
    pub fn cut(&self) {
        self.state.cuts.fetch_add(1, Ordering::AcqRel);
    }
    /// Leads new connections somewhere else, and ends the ones there are.
    pub fn repoint(&self, upstream: SocketAddr) {
        *self.state.upstream.lock() = upstream;
        self.cut();
    }
    /// From now on something else arrives at the upstream than these bytes, wherever they are sent in one piece; none: what
    /// was sent.
    pub fn instead(&self, of: Option<(Vec<u8>, Vec<u8>)>) {
        *self.state.instead.lock() = of;
    }
    /// How many chunks have gone to the upstream.
    pub fn passed(&self) -> u64 {
        self.state.passed.load(Ordering::Acquire)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::Release);
        self.cut();
        // Wakes whoever accepts.
        drop(TcpStream::connect(self.address));
    }
}

impl State {
    fn serve(self: Arc<Self>, client: TcpStream) {
        let cuts = self.cuts.load(Ordering::Acquire);
        // A network that is gone answers no new connection either: whoever dials waits.
        while matches!(*self.to.lock(), Way::Hold) {
            if self.is_over(cuts) {
                return;
            }
            thread::sleep(LOOK);
        }
        let upstream = *self.upstream.lock();
        let Ok(server) = TcpStream::connect(upstream) else { return };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        }
        let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { return };
        let state = Arc::clone(&self);
        let doomed = Arc::new(AtomicBool::default());
        let doomed_too = Arc::clone(&doomed);
        let there = thread::spawn(move || state.pump(client, server, (true, cuts), &doomed_too));
        self.pump(server_too, client_too, (false, cuts), &doomed);
        let _ = there.join();
    }
    fn is_over(&self, cuts: u64) -> bool {
        self.cuts.load(Ordering::Acquire) != cuts
    }
    fn way(&self, there: bool) -> Way {
        *if there { self.to.lock() } else { self.back.lock() }
    }
    /// Moves bytes one way until either side ends or the proxy is told to cut.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream, (there, cuts): (bool, u64), doomed: &AtomicBool) {
        let mut buffer = [0; 16 * 1024];
        let mut carried = 0_u64;
        while !self.is_over(cuts) {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => break,
            };
            // It was cut while this waited: what was sent after the cut does not arrive.
            if self.is_over(cuts) {
                break;
            }
            carried += read as u64;
            // What comes back once the connection is to end does not arrive.
            if doomed.load(Ordering::Acquire) && !there {
                break;
            }
            let mut bytes = buffer[..read].to_vec();
            if there
                && let Some((of, other)) = &*self.instead.lock()
                && let Some(at) = bytes.windows(of.len()).position(|part| part == of)
            {
                bytes.splice(at..at + of.len(), other.iter().copied());
            }
            if !self.carry(&mut to, &bytes, (there, cuts), carried, doomed) {
                break;
            }
        }
        // A way that holds tells nobody that the other side is gone.
        while !self.is_over(cuts) && self.way(there) == Way::Hold {
            thread::sleep(LOOK);
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
    /// Whether the connection goes on.
    fn carry(
        &self,
        to: &mut TcpStream,
        bytes: &[u8],
        (there, cuts): (bool, u64),
        carried: u64,
        doomed: &AtomicBool,
    ) -> bool {
        while self.way(there) == Way::Hold {
            if self.is_over(cuts) {
                return false;
            }
            thread::sleep(LOOK);
        }
        let way = self.way(there);
        let mut goes_on = true;
        match way {
            Way::Late(by) => thread::sleep(by),
            Way::Drip(pause) => {
                for byte in bytes {
                    if self.is_over(cuts) || to.write_all(&[*byte]).is_err() {
                        return false;
                    }
                    if self.way(there) == way {
                        thread::sleep(pause);
                    }
                }
                return true;
            }
            Way::OneThenHold => {
                let mut ways = if there { self.to.lock() } else { self.back.lock() };
                if *ways == Way::OneThenHold {
                    *ways = Way::Hold;
                }
            }
            Way::CutAfter(most) => goes_on = carried < most,
            Way::Pass | Way::Hold => {}
        }
        if !goes_on {
            doomed.store(true, Ordering::Release);
        }
        let arrived = to.write_all(bytes).is_ok();
        if there {
            self.passed.fetch_add(1, Ordering::AcqRel);
        }
        if !goes_on {
            // Long enough for the server to have read it.
            thread::sleep(Duration::from_millis(30));
        }
        arrived && goes_on
    }
}

#[test]
fn the_proxy_holds_cuts_and_leads_elsewhere() {
    use std::time::Instant;
    let echo = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut buffer = [0; 64];
                    while let Ok(read @ 1..) = stream.read(&mut buffer) {
                        let port = address.port().to_be_bytes();
                        let _ = stream.write_all(&[&buffer[..read], &port].concat());
                    }
                });
            }
        });
        address
    };
    let (first, second) = (echo(), echo());
    let proxy = Proxy::to(first);
    let dial = || {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    let ask = |stream: &mut TcpStream| -> Option<u16> {
        stream.write_all(b"hello").ok()?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).ok()?;
        Some(u16::from_be_bytes([answer[5], answer[6]]))
    };
    let mut stream = dial();
    assert_eq!(ask(&mut stream), Some(first.port()));
    proxy.set(Way::Pass, Way::Late(Duration::from_millis(80)));
    let begun = Instant::now();
    assert_eq!(ask(&mut stream), Some(first.port()));
    assert!(begun.elapsed() >= Duration::from_millis(80));
    proxy.blackhole();
    stream.set_read_timeout(Some(Duration::from_millis(120))).unwrap();
    assert_eq!(ask(&mut stream), None, "held");
    proxy.heal();
    let mut late = [0; 7];
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.read_exact(&mut late).unwrap();
    assert_eq!(&late[..5], b"hello", "what was held arrives");
    proxy.repoint(second);
    assert_eq!(ask(&mut stream), None, "cut");
    assert_eq!(ask(&mut dial()), Some(second.port()));
    proxy.set(Way::CutAfter(3), Way::Pass);
    assert_eq!(ask(&mut dial()), None, "cut when it had passed");
}
