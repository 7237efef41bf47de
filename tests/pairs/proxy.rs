//! A TCP proxy between a replica and its database, or between two databases: it can swallow what comes, and lead elsewhere.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Between two looks at whether something has changed.
const LOOK: Duration = Duration::from_millis(2);

struct Shared {
    target: Mutex<SocketAddr>,
    /// Whether nothing gets through, in either direction, and nobody is told.
    cut: AtomicBool,
    ended: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

/// A proxy; ended when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            cut: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.ended.load(Ordering::Acquire) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.serve(&stream));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing gets through, and no end is told: as a network that drops every packet.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::Release);
    }

    /// Lets new connections through; the old ones are over.
    pub fn heal(&self) {
        self.close();
        self.shared.cut.store(false, Ordering::Release);
    }

    /// Leads somewhere else; the connections there were are over.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
        self.heal();
    }

    fn close(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, near: &TcpStream) {
        self.open.lock().unwrap().push(near.try_clone().unwrap());
        let target = *self.target.lock().unwrap();
        // A packet that is dropped on its way makes no connection there.
        self.while_cut();
        let Ok(far) = TcpStream::connect(target) else {
            let _ = near.shutdown(Shutdown::Both);
            return;
        };
        for stream in [near, &far] {
            let _ = stream.set_nodelay(true);
        }
        self.open.lock().unwrap().push(far.try_clone().unwrap());
        let back = (far.try_clone().unwrap(), near.try_clone().unwrap());
        let shared = Arc::clone(self);
        let answering = thread::spawn(move || shared.pump(&back.0, &back.1));
        self.pump(near, &far);
        let _ = answering.join();
    }

    fn while_cut(&self) {
        while self.cut.load(Ordering::Acquire) && !self.ended.load(Ordering::Acquire) {
            thread::sleep(LOOK);
        }
    }

    fn pump(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut bytes = [0; 16_384];
        loop {
            let read = match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            self.while_cut();
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        self.while_cut();
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.close();
        let _ = TcpStream::connect(self.address);
    }
}
