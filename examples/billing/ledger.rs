//! The ledger: cards, reservations, and who is liable for which site from when on.
//!
//! Every effect is one line of the file, on disk before it is answered; the state is what the lines add up to. A call
//! that was made before has its effect once: `id` and `attempt` tell. The highest attempt of an id is the only one that
//! counts, so that a call which was on its way when its sender gave up changes nothing when it arrives.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs::{File, OpenOptions},
    io::Write,
};

use serde_json::{Value, json};

type Answer = Result<(u16, Value), Box<dyn Error>>;

#[derive(Default)]
pub struct Ledger {
    file: Option<File>,
    cards: BTreeSet<String>,
    /// The newest attempt of each id: its number, `reserved`, `released` or `confirmed`, and what it is about.
    newest: BTreeMap<String, (u64, &'static str, Value)>,
    /// Who is liable, site by site, in the order of confirmation.
    periods: BTreeMap<String, Vec<Value>>,
    /// Calls that broke the contract.
    violations: Vec<String>,
}

fn text(body: &Value, name: &str) -> String {
    body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(body: &Value, name: &str) -> u64 {
    body.get(name).and_then(Value::as_u64).unwrap_or_default()
}

impl Ledger {
    /// The ledger in this file; a last line that was not finished never happened.
    pub fn open(path: &str) -> Result<Self, Box<dyn Error>> {
        let mut ledger = Self::default();
        let written = std::fs::read_to_string(path).unwrap_or_default();
        let whole = written.rfind('\n').map_or("", |end| written.split_at(end + 1).0);
        for line in whole.lines() {
            ledger.add(&serde_json::from_str(line)?);
        }
        std::fs::write(path, whole)?;
        ledger.file = Some(OpenOptions::new().append(true).open(path)?);
        Ok(ledger)
    }

    /// Writes an effect down, then has it.
    fn record(&mut self, op: &str, body: &Value) -> Result<(), Box<dyn Error>> {
        let line = json!({"op": op, "body": body});
        if let Some(file) = &mut self.file {
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_data()?;
        }
        self.add(&line);
        Ok(())
    }

    fn add(&mut self, line: &Value) {
        let body = line.get("body").cloned().unwrap_or_default();
        let (id, attempt) = (text(&body, "id"), number(&body, "attempt"));
        match text(line, "op").as_str() {
            "card" => {
                self.cards.insert(text(&body, "account"));
            }
            "no_card" => {
                self.cards.remove(&text(&body, "account"));
            }
            "reserve" => {
                self.newest.insert(id, (attempt, "reserved", body));
            }
            "release" => {
                self.newest.insert(id, (attempt, "released", body));
            }
            "confirm" => {
                self.periods.entry(text(&body, "site")).or_default().push(body.clone());
                self.newest.insert(id, (attempt, "confirmed", body));
            }
            _ => self.violations.push(text(&body, "what")),
        }
    }

    fn violation(&mut self, what: &str, body: &Value) -> Answer {
        self.record("violation", &json!({"what": format!("{what}: {body}")}))?;
        Ok((409, json!({"code": "conflict", "detail": what})))
    }

    pub fn card(&mut self, body: &Value) -> Answer {
        let valid = body.get("valid").and_then(Value::as_bool).unwrap_or(true);
        self.record(if valid { "card" } else { "no_card" }, body)?;
        Ok((200, json!({})))
    }

    /// May this account come to pay?
    pub fn reserve(&mut self, body: &Value) -> Answer {
        let (id, attempt) = (text(body, "id"), number(body, "attempt"));
        match self.newest.get(&id) {
            Some((newest, state @ ("reserved" | "confirmed"), _)) if *newest == attempt => {
                return Ok((200, json!({ "state": state })));
            }
            Some((newest, "released", _)) if *newest >= attempt => return Ok((409, json!({"code": "released"}))),
            Some((newest, ..)) if *newest > attempt => return Ok((409, json!({"code": "superseded"}))),
            Some((_, "confirmed", _)) => return self.violation("reserved after it was confirmed", body),
            Some(_) | None => {}
        }
        let free = body.pointer("/plan/tier").and_then(Value::as_str) == Some("free");
        if !free && !self.cards.contains(&text(body, "payer")) {
            return Ok((402, json!({"code": "no_valid_card"})));
        }
        self.record("reserve", body)?;
        Ok((200, json!({"state": "reserved"})))
    }

    /// It does pay, from `effective_at` on. A confirmation is never refused for money.
    pub fn confirm(&mut self, body: &Value) -> Answer {
        let (id, attempt) = (text(body, "id"), number(body, "attempt"));
        match self.newest.get(&id) {
            Some((newest, "confirmed", _)) if *newest == attempt => return Ok((200, json!({"state": "confirmed"}))),
            Some((newest, "reserved", _)) if *newest == attempt => {}
            None if id.starts_with("return:") => {}
            Some(_) | None => return self.violation("confirmed without a reservation", body),
        }
        if let Some(last) = self.periods.get(&text(body, "site")).and_then(|periods| periods.last()) {
            if number(last, "revision") >= number(body, "revision") {
                return self.violation("confirmed out of order", body);
            }
            if last.get("payer") != body.get("from") {
                return self.violation("confirmed from somebody who did not pay", body);
            }
        }
        self.record("confirm", body)?;
        Ok((200, json!({"state": "confirmed"})))
    }

    /// It does not: this attempt and every earlier one is over, whether it was heard of or not.
    pub fn release(&mut self, body: &Value) -> Answer {
        let (id, attempt) = (text(body, "id"), number(body, "attempt"));
        match self.newest.get(&id) {
            Some((newest, "confirmed", _)) if *newest == attempt => {
                return self.violation("released after it was confirmed", body);
            }
            Some((newest, "released", _)) if *newest == attempt => {}
            Some((newest, ..)) if *newest > attempt => {}
            Some(_) | None => self.record("release", body)?,
        }
        Ok((200, json!({"state": "released"})))
    }

    /// Everything, for whoever compares.
    pub fn document(&self) -> Value {
        let sagas: BTreeMap<&String, Value> = self
            .newest
            .iter()
            .map(|(id, (attempt, state, about))| (id, json!({"attempt": attempt, "state": state, "about": about})))
            .collect();
        json!({"cards": self.cards, "sagas": sagas, "periods": self.periods, "violations": self.violations})
    }
}
