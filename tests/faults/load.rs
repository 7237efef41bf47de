//! The callers: threads that ask every replica all the time, and threads that make changes, as long as a scenario lasts.

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    cluster::{OWN, SITES, World, change, comes_true, question},
    history::{Change, Check, Durable, Flip, Healed, History, Said, Subject},
    http::{Answer, Client},
    policy_folders::activate,
    report,
    seeded::Seeded,
};

/// Threads that ask one replica.
const ASKERS: usize = 2;
/// Between two questions of one of them. The short form runs with a program that is not optimised, beside another scenario:
/// asked without a pause it would starve both, and time is what is judged.
fn pause() -> Duration {
    Duration::from_micros(if report::long() { 300 } else { 2_000 })
}
/// Threads that make changes, each on sites of its own; one more blocks Bo, and one suspends the agency.
const CHANGERS: usize = 2;

/// How long callers call on after everything was healed.
const CALM: Duration = Duration::from_millis(500);
/// One in so many changes of sites does not wait until it is effective.
const IMPATIENT: u64 = 4;

/// No key is used twice but for what is sent twice.
static KEYS: AtomicU64 = AtomicU64::new(0);

/// What callers do, and what they were told.
pub struct Load<'a> {
    world: &'a World,
    seed: u64,
    stop: AtomicBool,
    /// The replicas through which changes are made.
    writers: Mutex<Vec<usize>>,
    history: Mutex<History>,
    /// Between two changes of one changer, in milliseconds.
    rest: AtomicU64,
    made: AtomicUsize,
    /// How often each replica has answered about each site.
    answered: Vec<[AtomicUsize; SITES]>,
    /// What was answered `202`.
    pending: Mutex<Vec<(Change, String)>>,
    /// The newest revision that any answer was at, with its token.
    newest: Mutex<Option<(String, u64)>>,
}

impl<'a> Load<'a> {
    pub fn new(world: &'a World, seed: u64) -> Self {
        // One that only decides takes no commands.
        let writers = (0..world.replicas.len()).filter(|n| Some(*n) != world.plan.decides).collect();
        let writers = Mutex::new(writers);
        Self {
            world,
            seed,
            stop: AtomicBool::default(),
            writers,
            history: Mutex::default(),
            rest: AtomicU64::new(10),
            made: AtomicUsize::default(),
            answered: world.replicas.iter().map(|_| Default::default()).collect(),
            pending: Mutex::default(),
            newest: Mutex::default(),
        }
    }

    /// Lets callers call while `adversity` happens; then heals the world, and answers what `adversity` did, a panic included,
    /// and everything that was seen.
    pub fn while_<T>(self, adversity: impl FnOnce(&Self) -> T) -> (thread::Result<T>, History) {
        // A world may have been called before.
        let begun = self.world.durable();
        let (outcome, healed) = thread::scope(|scope| {
            for replica in 0..self.world.replicas.len() {
                for asker in 0..ASKERS {
                    let this = &self;
                    scope.spawn(move || this.ask_on(replica, asker));
                }
            }
            for changer in 0..CHANGERS + 2 {
                let (this, begun) = (&self, &begun);
                scope.spawn(move || this.change_on(changer, begun));
            }
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| adversity(&self)));
            self.world.heal();
            // Whatever waits is answered now, and after it everybody asks a little more.
            let pending = self.becomes_effective();
            let calm = Instant::now();
            thread::sleep(CALM);
            self.until_all_answer(report::busy());
            let healed = Healed { calm: (calm, Instant::now()), pending };
            self.stop.store(true, Ordering::Release);
            (outcome, healed)
        });
        let mut history = self.history.into_inner();
        history.healed = Some(healed);
        (outcome, history)
    }

    /// Sends everything that was answered `202` again, at once, until it is effective.
    fn becomes_effective(&self) -> Vec<(String, Result<Duration, String>)> {
        let (healed, most) = (Instant::now(), self.world.longest_wait());
        let again = |(next, key): (Change, String)| {
            let mut client = self.world.replicas[0].client();
            loop {
                let flip = send(&mut client, next, &key);
                let (effective, took) = (flip.effective, flip.got - healed);
                let last = format!("{} {} after {took:?}, by {}", flip.status, flip.code, flip.acks);
                self.history.lock().flips.push(flip);
                if effective || took > most {
                    return (key, if effective && took <= most { Ok(took) } else { Err(last) });
                }
            }
        };
        let pending = std::mem::take(&mut *self.pending.lock());
        thread::scope(|scope| {
            let sent: Vec<_> = pending.into_iter().map(|one| scope.spawn(|| again(one))).collect();
            sent.into_iter().map(|one| one.join().unwrap()).collect()
        })
    }

    /// Changes are made through these replicas from now on.
    pub fn write_through(&self, writers: &[usize]) {
        *self.writers.lock() = writers.to_vec();
    }
    /// Changes with so much rest in between, in milliseconds.
    pub fn rest(&self, millis: u64) {
        self.rest.store(millis, Ordering::Release);
    }
    /// How many changes were called effective so far.
    pub fn made(&self) -> usize {
        self.made.load(Ordering::Acquire)
    }
    /// Waits until that many more changes were made.
    pub fn until_made(&self, more: usize) {
        let wanted = self.made() + more;
        crate::server::until("changes are made", || (self.made() >= wanted).then_some(()));
    }
    /// Waits until every replica has answered about every site from now on: then it remembers them all, and a fault that
    /// comes now finds something old to be answered.
    pub fn until_warm(&self) {
        let all = || self.answered.iter().flatten();
        let before: Vec<usize> = all().map(|count| count.load(Ordering::Acquire)).collect();
        crate::server::until("every replica remembers every site", || {
            all().zip(&before).all(|(count, before)| count.load(Ordering::Acquire) > *before).then_some(())
        });
    }
    /// Waits until every replica has answered from now on, at most so long.
    fn until_all_answer(&self, most: Duration) {
        let answers = |of: &[AtomicUsize; SITES]| of.iter().map(|count| count.load(Ordering::Acquire)).sum::<usize>();
        let before: Vec<usize> = self.answered.iter().map(answers).collect();
        comes_true(most, || self.answered.iter().zip(&before).all(|(of, before)| answers(of) > *before));
    }
    /// Gives or takes Lea's role on the scenario's own site, through this replica, once; what was told.
    pub fn own(&self, through: usize, may: bool) -> Flip {
        let key = format!("own-{}", KEYS.fetch_add(1, Ordering::AcqRel));
        self.own_again(through, may, &key)
    }
    /// The same under a key that may have been used.
    pub fn own_again(&self, through: usize, may: bool, key: &str) -> Flip {
        let flip = send(&mut self.world.replicas[through].client(), Change::Lea(OWN, may), key);
        self.history.lock().flips.push(flip.clone());
        flip
    }
    /// Puts policies in force, and waits until they are effective; what was told.
    pub fn activate(&self, policies: &Path) -> Flip {
        let sent = Instant::now();
        let run = crate::server::until("policies are activated", || {
            let run = activate(&self.world.direct, policies);
            assert!(run.code == Some(0) || run.err.contains("try again"), "{run:?}");
            (run.code == Some(0)).then_some(run)
        });
        let got = Instant::now();
        let said: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        let flip = Flip {
            key: format!("policies-{}", KEYS.fetch_add(1, Ordering::AcqRel)),
            sent,
            got,
            status: 200,
            code: String::new(),
            revision: said["revision"].as_u64().unwrap(),
            effective: said["status"] == "effective",
            acks: said["acks"].as_str().unwrap().to_owned(),
            waited: Duration::from_millis(said["waited_ms"].as_u64().unwrap()),
        };
        self.history.lock().flips.push(flip.clone());
        flip
    }
    /// Asks a replica about the own site; what was said.
    pub fn ask_own(&self, replica: usize) -> Said {
        let check = ask(&mut self.world.replicas[replica].client(), replica, Subject::Lea(OWN), None).0;
        self.history.lock().checks.push(check.clone());
        check.said
    }
    /// An answer that was read by hand.
    pub fn note(&self, replica: usize, subject: Subject, sent: Instant, answer: io::Result<Answer>) {
        let (said, _) = said(answer);
        let check = Check { replica, subject, sent, got: Instant::now(), floor: None, said };
        self.history.lock().checks.push(check);
    }
    /// What was seen, where nobody calls but whoever holds this.
    pub fn seen(self) -> History {
        self.history.into_inner()
    }
    fn over(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn ask_on(&self, replica: usize, asker: usize) {
        let mut chance = Seeded::new(self.seed ^ (replica * 31 + asker) as u64);
        let mut client: Option<(std::net::SocketAddr, Client)> = None;
        let mut checks = Vec::new();
        while !self.over() {
            let address = self.world.replicas[replica].address();
            if client.as_ref().is_none_or(|(known, _)| *known != address) {
                client = Some((address, Client::new(address)));
            }
            let subject = match chance.below(SITES as u64 + 2) {
                n if n < SITES as u64 => Subject::Lea(usize::try_from(n).unwrap()),
                _ => Subject::Bo,
            };
            // One asker of each replica asks for the newest that anybody was told, by whichever replica.
            let newest = || self.newest.lock().clone();
            let floor = (asker == 1 && chance.chance(50)).then(newest).flatten();
            let (_, caller) = client.as_mut().unwrap();
            let check = ask(caller, replica, subject, floor.as_ref());
            if let (Said::Answer { revision, .. }, Some(next)) = (&check.0.said, check.1) {
                let mut newest = self.newest.lock();
                if newest.as_ref().is_none_or(|(_, known)| known < revision) {
                    *newest = Some((next, *revision));
                }
                drop(newest);
                if let Subject::Lea(site) = subject {
                    self.answered[replica][site].fetch_add(1, Ordering::AcqRel);
                }
            } else {
                // A connection that ended is made anew.
                client = None;
                thread::sleep(Duration::from_millis(2));
            }
            checks.push(check.0);
            thread::sleep(pause());
        }
        self.history.lock().checks.append(&mut checks);
    }

    fn change_on(&self, changer: usize, begun: &Durable) {
        let mut chance = Seeded::new(self.seed ^ (0xC4A_0000 + changer as u64));
        let mut state = [false; SITES];
        let (mut blocked, mut active) = (false, true);
        for (_, change) in &begun.changes {
            match *change {
                Change::Lea(site, may) => state[site] = may,
                Change::BoBlocked(now) => blocked = now,
                Change::AgencyActive(now) => active = now,
                Change::Strict(_) => {}
            }
        }
        while !self.over() {
            let next = match changer {
                n if n < CHANGERS => {
                    let own: Vec<usize> = (0..OWN).filter(|site| site % CHANGERS == n).collect();
                    let site = *chance.pick(&own);
                    Change::Lea(site, !state[site])
                }
                CHANGERS => Change::BoBlocked(!blocked),
                _ => Change::AgencyActive(!active),
            };
            if !self.make(next, &mut chance) {
                // It is not known whether it was done: nobody may assume either.
                return;
            }
            match next {
                Change::Lea(site, may) => state[site] = may,
                Change::BoBlocked(now) => blocked = now,
                Change::AgencyActive(now) => active = now,
                Change::Strict(_) => {}
            }
            let rest = self.rest.load(Ordering::Acquire);
            thread::sleep(Duration::from_millis(if changer < CHANGERS { rest } else { rest * 8 }));
        }
    }

    /// Makes a change, with one key however often it has to be sent; whether it was made.
    fn make(&self, next: Change, chance: &mut Seeded) -> bool {
        let key = format!("change-{}", KEYS.fetch_add(1, Ordering::AcqRel));
        loop {
            let writers = self.writers.lock().clone();
            if !writers.is_empty() {
                let through = *chance.pick(&writers);
                let mut client = self.world.replicas[through].client();
                let impatient = matches!(next, Change::Lea(..)) && chance.below(IMPATIENT) == 0;
                let flip = if impatient { send_and_go(&mut client, next, &key) } else { send(&mut client, next, &key) };
                if flip.status == 202 && !flip.effective {
                    self.pending.lock().push((next, key.clone()));
                }
                let (status, effective) = (flip.status, flip.effective);
                self.made.fetch_add(usize::from(effective), Ordering::AcqRel);
                self.history.lock().flips.push(flip);
                match status {
                    200..=299 => return true,
                    // The connection ended, or the service cannot do it now.
                    0 | 503 => {}
                    // Nobody else changes this, so nothing may stand in its way.
                    _ => panic!("seed {:#x}: {next:?} was answered {status}", self.seed),
                }
            }
            if self.over() {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Asks; what was said, and the token of the answer.
pub fn ask(
    client: &mut Client,
    replica: usize,
    subject: Subject,
    floor: Option<&(String, u64)>,
) -> (Check, Option<String>) {
    let call = question(subject, floor.map(|(token, _)| token.as_str()));
    let sent = Instant::now();
    let answer = client.try_call(&call);
    let got = Instant::now();
    let (said, token) = said(answer);
    (Check { replica, subject, sent, got, floor: floor.map(|(_, revision)| *revision), said }, token)
}

fn said(answer: io::Result<Answer>) -> (Said, Option<String>) {
    match answer {
        Ok(answer) if answer.status == 200 => {
            let allowed = answer.json()["decision"] == true;
            let token = answer.header("revision-token").map(str::to_owned);
            (Said::Answer { revision: answer.revision(), allowed }, token)
        }
        Ok(answer) => (Said::Refused(answer.code()), None),
        Err(_) => (Said::Refused(String::new()), None),
    }
}

/// Sends a change once; what was told.
pub fn send(client: &mut Client, next: Change, key: &str) -> Flip {
    let sent = Instant::now();
    let answer = client.try_call(&change(next, key));
    told(key, sent, answer)
}

/// The same, of whoever does not wait until the change is effective.
fn send_and_go(client: &mut Client, next: Change, key: &str) -> Flip {
    let sent = Instant::now();
    let answer = client.try_call(&change(next, key).header("prefer", "wait=0"));
    told(key, sent, answer)
}

/// What an answer to a change says.
pub fn told(key: &str, sent: Instant, answer: io::Result<Answer>) -> Flip {
    let got = Instant::now();
    let mut flip = Flip {
        key: key.to_owned(),
        sent,
        got,
        status: 0,
        code: String::new(),
        revision: 0,
        effective: false,
        acks: String::new(),
        waited: Duration::ZERO,
    };
    let Ok(answer) = answer else { return flip };
    flip.status = answer.status;
    flip.code = answer.code();
    if answer.status < 300 {
        flip.revision = answer.revision();
        let body = answer.json();
        // A registration waits as long as it takes, and says so by being answered.
        flip.effective = body["status"] == "effective" || (answer.status != 202 && body["status"] != "committed");
        body["acks"].as_str().unwrap_or_default().clone_into(&mut flip.acks);
        flip.waited = Duration::from_millis(body["waited_ms"].as_u64().unwrap_or_default());
    }
    flip
}
