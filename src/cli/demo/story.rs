//! The story's means: questions, registrations, commands and the passing of time.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    chapters,
    teller::{Teller, few, text, texts},
};
use crate::{
    app::App,
    cli::{
        client::{Answer, Client},
        exit::Stop,
    },
    clock::{self, Clock as _, ShiftedClock},
    time::Timestamp,
};

/// Actions named in a list before it says how many more there are.
const FEW: usize = 7;

/// The service's time, which the story moves.
pub struct Time {
    clock: Arc<ShiftedClock>,
    app: Arc<App>,
    runtime: tokio::runtime::Handle,
}

impl Time {
    /// The time of `app`, whose clock is `clock`.
    pub fn new(clock: Arc<ShiftedClock>, app: Arc<App>, runtime: tokio::runtime::Handle) -> Self {
        Self { clock, app, runtime }
    }
    fn now(&self) -> Timestamp {
        self.clock.now()
    }
    /// Lets time pass, and what is due be committed. The worker would do it too, but sleeps by the wall clock.
    fn pass(&self, duration: Duration) -> Result<(), Stop> {
        self.clock.advance(duration);
        let committed = self.runtime.block_on(self.app.commit_due());
        committed.map(drop).map_err(|failure| Stop::failed(failure.detail))
    }
}

/// The story while it is played.
pub struct Story<'a> {
    client: Client,
    teller: Teller,
    time: &'a Time,
}

/// Who asks or acts, and whether they have just signed in.
#[derive(Clone, Copy)]
pub struct Person {
    id: &'static str,
    fresh: bool,
}

impl Person {
    /// Somebody who signed in long ago.
    pub const fn named(id: &'static str) -> Self {
        Self { id, fresh: false }
    }
    /// The same, just signed in.
    pub const fn fresh(self) -> Self {
        Self { fresh: true, ..self }
    }
}

impl<'a> Story<'a> {
    /// A story that has not begun.
    pub fn new(client: Client, teller: Teller, time: &'a Time) -> Self {
        Self { client, teller, time }
    }

    /// Plays it from the first chapter to the last.
    pub fn play(&mut self) -> Result<(), Stop> {
        chapters::all(self)
    }

    /// The verdict: whether every answer was the expected one.
    pub fn finish(mut self, base: &str) -> Result<bool, Stop> {
        self.teller.say(&format!("Every line above with an answer was one HTTP call to {base}."))?;
        self.teller.verdict()
    }

    /// The teller, for words between questions.
    pub fn tell(&mut self) -> &mut Teller {
        &mut self.teller
    }
    /// The story's present.
    pub fn now(&self) -> Timestamp {
        self.time.now()
    }
    /// Lets time pass.
    pub fn pass(&mut self, duration: Duration) -> Result<(), Stop> {
        self.time.pass(duration)
    }

    /// Does something again without repeating what was read the first time; calls are still shown and compared.
    pub fn quietly<T>(&mut self, again: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        self.teller.only_calls(true);
        let done = again(self);
        self.teller.only_calls(false);
        done
    }

    /// Registers something.
    pub fn register(&mut self, path: &str, body: &Value) -> Result<(), Stop> {
        let answer = self.client.put(path, body)?;
        let status = answer.status.to_string();
        self.teller.call(&format!("PUT {path}"), &status, "201", &status)?;
        Ok(())
    }

    /// Asks whether `who` may do `action` on `site`, and expects `allow` or a deny's reason code.
    pub fn ask(&mut self, who: Person, action: &str, site: &str, expected: &str) -> Result<(), Stop> {
        let mut context = json!({ "explain": true });
        if let (true, Some(context)) = (who.fresh, context.as_object_mut()) {
            context.insert("auth_time".to_owned(), self.now().as_seconds().into());
        }
        let question = json!({
            "subject": { "type": "user", "id": who.id }, "action": { "name": action },
            "resource": { "type": "site", "id": site }, "context": context,
        });
        let answer = self.client.post("/access/v1/evaluation", None, &question)?;
        let said = answer.body.get("decision").and_then(Value::as_bool).filter(|_| answer.status == 200);
        let (shown, actual) = match said {
            Some(true) => (format!("allow  ({})", text(&answer.body, "/context/via")), "allow".to_owned()),
            Some(false) => {
                let reason = text(&answer.body, "/context/reason").to_owned();
                (format!("deny   {reason}"), reason)
            }
            None => (format!("{} {}", answer.status, text(&answer.body, "/code")), "no decision".to_owned()),
        };
        let signed_in = if who.fresh { " (just signed in)" } else { "" };
        self.teller.call(&format!("{}{signed_in} {action} on {site}?", who.id), &shown, expected, &actual)?;
        if said == Some(false) {
            self.teller.remedy(&actual, text(&answer.body, "/context/remedy"))?;
        }
        for told in answer.body.pointer("/context/obligations").and_then(Value::as_array).into_iter().flatten() {
            self.teller.note(&format!("and the {} is told", text(told, "/notify")))?;
        }
        Ok(())
    }

    /// Carries out a command and expects these events.
    pub fn done(&mut self, who: Person, site: &str, command: Value, events: &[&str]) -> Result<Value, Stop> {
        let name = text(&command, "/command").to_owned();
        let answer = self.command(who, site, command, "")?;
        let actual = match answer.status {
            200 => texts(&answer.body, "/events").join(", "),
            status => format!("{status} {}", text(&answer.body, "/code")),
        };
        let shown = if answer.status == 200 { format!("200 {actual}") } else { actual.clone() };
        let right = self.teller.call(&format!("{}: {name} on {site}", who.id), &shown, &events.join(", "), &actual)?;
        if right || answer.status == 200 {
            return Ok(answer.body);
        }
        let detail = text(&answer.body, "/detail").to_owned();
        self.teller.note(&detail)?;
        Err(Stop::failed(format!("the story cannot go on: {name} was refused: {detail}")))
    }

    /// Tries a command and expects this refusal.
    pub fn refused(&mut self, who: Person, site: &str, command: Value, expected: &str) -> Result<(), Stop> {
        let name = text(&command, "/command").to_owned();
        let answer = self.command(who, site, command, "")?;
        let actual = format!("{} {}", answer.status, text(&answer.body, "/code"));
        self.teller.call(&format!("{}: {name} on {site}", who.id), &actual, expected, &actual)?;
        self.teller.note(text(&answer.body, "/detail"))
    }

    /// Previews a command, shows what it would change and what the person reads; the digest that the command carries.
    pub fn preview(&mut self, who: Person, site: &str, command: Value) -> Result<Value, Stop> {
        let name = text(&command, "/command").to_owned();
        let answer = self.command(who, site, command, "?dry_run=true")?;
        let would = text(&answer.body, "/would").to_owned();
        self.teller.call(
            &format!("{}: preview of {name}", who.id),
            &format!("{} would {would}", answer.status),
            "apply",
            &would,
        )?;
        let blockers = texts(&answer.body, "/blockers");
        self.teller.note(&format!(
            "blockers: {}",
            if blockers.is_empty() { "none".to_owned() } else { blockers.join(", ") }
        ))?;
        for change in answer.body.get("permission_diff").and_then(Value::as_array).into_iter().flatten() {
            for (list, words) in
                [("/gains", "would gain"), ("/loses", "would lose"), ("/now_conditional", "would need a condition for")]
            {
                let actions = texts(change, list);
                if !actions.is_empty() {
                    self.teller.note(&format!("{} {words} {}", text(change, "/principal"), few(&actions, FEW)))?;
                }
            }
        }
        self.teller.say(&format!("What {} reads before deciding:", who.id))?;
        for section in answer.body.get("explanation").and_then(Value::as_array).into_iter().flatten() {
            self.teller.quote(text(section, "/text"))?;
        }
        Ok(answer.body.get("digest").cloned().unwrap_or(Value::Null))
    }

    /// Shows what the accepting side reads; the digest that the acceptance carries.
    pub fn explanation(&mut self, who: Person, handover: &str, audience: &str) -> Result<Value, Stop> {
        let answer = self.client.get(&format!("/v1/handovers/{handover}/explanation?audience={audience}"))?;
        let status = answer.status.to_string();
        self.teller.call(&format!("{}: the explanation for the {audience}", who.id), &status, "200", &status)?;
        for section in answer.body.get("sections").and_then(Value::as_array).into_iter().flatten() {
            self.teller.quote(text(section, "/text"))?;
        }
        Ok(answer.body.get("digest").cloned().unwrap_or(Value::Null))
    }

    /// Looks at a site and expects these facts: what it is, where it stands, and its text.
    pub fn look(&mut self, site: &str, facts: &[(&str, &str, &str)]) -> Result<(), Stop> {
        let answer = self.client.get(&format!("/v1/sites/{site}"))?;
        for (what, pointer, expected) in facts {
            let actual = text(&answer.body, pointer).to_owned();
            self.teller.call(&format!("{site}: {what}"), &actual, expected, &actual)?;
        }
        Ok(())
    }

    /// Lists what happened on a site.
    pub fn history(&mut self, site: &str) -> Result<(), Stop> {
        let answer = self.client.get(&format!("/v1/sites/{site}/audit?limit=1000"))?;
        self.teller.line("")?;
        for event in answer.body.get("items").and_then(Value::as_array).into_iter().flatten() {
            let (at, kind, actor, via) =
                (text(event, "/at"), text(event, "/type"), text(event, "/actor"), text(event, "/via"));
            let by = match (actor, via) {
                ("-", _) => String::new(),
                (actor, via) if actor == via || via == "-" => actor.to_owned(),
                (actor, via) => format!("{actor} for {via}"),
            };
            let day = at.split('T').next().unwrap_or(at);
            self.teller.line(&format!("  {day}  {kind:<22} {by}"))?;
        }
        Ok(())
    }

    fn command(&self, who: Person, site: &str, mut command: Value, query: &str) -> Result<Answer, Stop> {
        if let Some(command) = command.as_object_mut() {
            command.insert("actor".to_owned(), format!("user:{}", who.id).into());
            if who.fresh {
                command.insert("auth_time".to_owned(), self.now().as_seconds().into());
            }
        }
        let key = clock::new_uuid();
        self.client.post(&format!("/v1/sites/{site}/transitions{query}"), Some(&key), &command)
    }
}
