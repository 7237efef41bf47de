//! A billing service that Mandate can ask: the contract of `docs/billing.md`, small enough to read in one sitting.
//!
//! It knows which accounts have a valid card, what is reserved, and who is liable for each site from when on. All of it
//! is kept in one file of JSON lines, so that it survives its own death. For tests it can be told to fail, to lose its
//! answers and to be slow, and it writes down every call that breaks the contract (`violations`).
//!
//! ```text
//! cargo run --example billing -- 127.0.0.1:9000 ledger.jsonl KEY_FILE
//! MANDATE_BILLING__URL=http://127.0.0.1:9000 MANDATE_BILLING__KEY_FILE=KEY_FILE mandate serve
//! ```

mod ledger;

use std::{
    error::Error,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use ledger::Ledger;
use serde_json::{Value, json};

const MAX_BODY: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

/// What it was told to do wrong.
#[derive(Default)]
struct Faults {
    /// So many calls are answered with 503, without an effect.
    fail_next: u64,
    /// So many calls take effect and are never answered.
    lose_next: u64,
    /// Every call takes effect and is answered this much later.
    delay: Duration,
}

struct Desk {
    key: String,
    ledger: Mutex<Ledger>,
    faults: Mutex<Faults>,
}

struct Request {
    method: String,
    path: String,
    authorization: String,
    body: Value,
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [listen, file, key_file] = words.as_slice() else {
        return Err("usage: billing LISTEN LEDGER_FILE KEY_FILE".into());
    };
    let key = std::fs::read_to_string(key_file)?.trim().to_owned();
    let desk = Arc::new(Desk { key, ledger: Mutex::new(Ledger::open(file)?), faults: Mutex::default() });
    let listener = TcpListener::bind(listen)?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let (stream, desk) = (stream?, Arc::clone(&desk));
        thread::spawn(move || {
            // A caller who went away is no reason to say anything.
            let _ = serve(&desk, &stream);
        });
    }
    Ok(())
}

/// Answers one request and closes the connection.
fn serve(desk: &Desk, stream: &TcpStream) -> Result<(), Box<dyn Error>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = read(&mut BufReader::new(stream))?;
    if let Some((status, body)) = answer(desk, &request)? {
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} .\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let mut to = stream;
        to.write_all(format!("{head}{body}").as_bytes())?;
    }
    Ok(())
}

fn read(from: &mut impl BufRead) -> Result<Request, Box<dyn Error>> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut authorization, mut length) = (String::new(), 0_usize);
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => value.trim().clone_into(&mut authorization),
            "content-length" => length = value.trim().parse()?,
            _ => {}
        }
    }
    if length > MAX_BODY {
        return Err("the body is too large".into());
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
    Ok(Request { method, path, authorization, body })
}

/// The answer; none when it is to be lost.
fn answer(desk: &Desk, request: &Request) -> Result<Option<(u16, Value)>, Box<dyn Error>> {
    if request.authorization != format!("Bearer {}", desk.key) {
        return Ok(Some((401, json!({"code": "unauthorized"}))));
    }
    let call = matches!(request.path.as_str(), "/reserve" | "/confirm" | "/release");
    let (fail, lose, delay) = if call { faults(desk) } else { (false, false, Duration::ZERO) };
    if fail {
        return Ok(Some((503, json!({"code": "told_to_fail"}))));
    }
    let answer = {
        let mut ledger = desk.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/reserve") => ledger.reserve(&request.body)?,
            ("POST", "/confirm") => ledger.confirm(&request.body)?,
            ("POST", "/release") => ledger.release(&request.body)?,
            ("POST", "/cards") => ledger.card(&request.body)?,
            ("GET", "/ledger") => (200, ledger.document()),
            ("POST", "/faults") => {
                let number = |name: &str| request.body.get(name).and_then(Value::as_u64).unwrap_or(0);
                *desk.faults.lock().unwrap_or_else(PoisonError::into_inner) = Faults {
                    fail_next: number("fail_next"),
                    lose_next: number("lose_next"),
                    delay: Duration::from_millis(number("delay_ms")),
                };
                (200, json!({}))
            }
            _ => (404, json!({"code": "unknown_path"})),
        }
    };
    thread::sleep(delay);
    Ok((!lose).then_some(answer))
}

/// Whether this call is to fail or to be lost, and how late it is answered.
fn faults(desk: &Desk) -> (bool, bool, Duration) {
    let mut faults = desk.faults.lock().unwrap_or_else(PoisonError::into_inner);
    let fail = faults.fail_next > 0;
    let lose = !fail && faults.lose_next > 0;
    faults.fail_next -= u64::from(fail);
    faults.lose_next -= u64::from(lose);
    (fail, lose, faults.delay)
}
