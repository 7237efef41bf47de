//! The thread that follows the database: one poll after the other, and a look in between for each commit that is heard of;
//! what they find is published before the registry is told of it.
//!
//! A commit waits for its replicas, so what is on that way waits for no disk: a look reads, and what is told is seen before it
//! is durable. Polls alone renew the lease, at their own pace, and wait as they always did. Where commits wait for a standby
//! every look is made a poll (`store::postgres::Replica` has the reasons).

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::watch};

use super::clocks::{Apart, Clocks};
use crate::{
    app::{Meter, Waker, chains::Chains, policies},
    assignment::SitePolicies,
    cache::View,
    clock::{BootClock as _, Clock as _, DatabaseClock, SystemBootClock, SystemClock},
    fault::{self, Mutant, Point},
    lease::{self, Boot, Follower, Step},
    revision::Revision,
    store::{
        Store as _, StoreError,
        postgres::{Hint, Polled, Replica},
        sql::SqlStore,
    },
};

/// How many polls there are in one lease.
const POLLS_PER_LEASE: u32 = 5;
/// How long a lost connection is left alone.
const AFTER_FAILURE: Duration = Duration::from_millis(200);
/// How long policies that cannot be used are left alone: looking at them takes time, and only somebody can mend them.
const BUILD_AGAIN: Duration = Duration::from_secs(2);
/// How long checks under the view before may take to end before the registry hears of a new one; and between two looks.
const DRAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_micros(200));

/// What the thread works with.
pub(super) struct Following {
    pub replica: Replica,
    pub follower: Follower,
    pub view: Arc<View>,
    pub clock: Arc<DatabaseClock>,
    pub store: Arc<SqlStore>,
    pub moved: watch::Sender<u64>,
    /// The revision that the registry was told of last.
    pub told: watch::Sender<Revision>,
    /// Woken by news and by whoever wants something.
    pub hint: Arc<Hint>,
    pub stop: Arc<AtomicBool>,
    /// Raised by whoever needs a lease that is asked for from now on, before the hint.
    pub wanted: Arc<AtomicBool>,
    /// When the next poll is due.
    pub due: Instant,
    pub runtime: Handle,
    pub chains: Arc<Chains>,
    pub meter: Arc<Meter>,
    /// Raised when nothing may be answered until an operator has looked.
    pub quarantined: Arc<AtomicBool>,
    /// Raised while the policies in force cannot be used.
    pub unusable: Arc<AtomicBool>,
    /// The policies that could not be used, why, and when that was seen.
    pub refused: Option<(String, String, Instant)>,
    /// Said once for each time that it begins.
    pub troubled: bool,
    /// Both clocks, as they were read before.
    pub clocks: Clocks,
    /// Says whether this process is the one that tells the world outside what happened.
    pub turn: watch::Sender<bool>,
    /// Wakes whoever tells it: others commit too.
    pub wake: Waker,
}

impl Following {
    /// Follows until it is told to stop, then leaves the registry.
    pub fn run(&mut self) {
        let mut hinted = false;
        while !self.stop.load(Ordering::Acquire) {
            self.compare_clocks();
            let wait = match self.round(hinted) {
                Ok(wait) => wait,
                Err(error) => {
                    if !std::mem::replace(&mut self.troubled, true) {
                        tracing::warn!(%error, "this replica cannot follow the database; it answers until its lease ends");
                    }
                    // Whoever asks for a lease meanwhile, or says that there is news, makes no difference: a server that is
                    // starting up is not to be called on without a pause by everybody.
                    std::thread::sleep(AFTER_FAILURE);
                    Duration::ZERO
                }
            };
            let turn = self.replica.has_turn();
            self.turn.send_if_modified(|had| std::mem::replace(had, turn) != turn);
            hinted = self.replica.hinted_within(wait, &self.runtime);
        }
        self.view.withdraw();
        self.turn.send_replace(false);
        if let Err(error) = self.replica.deregister() {
            tracing::warn!(%error, "this replica could not leave the registry; writers wait for its lease");
        }
    }

    /// A machine that was paused and went on, or was restored from a snapshot, may have missed time on the clock that
    /// leases are counted by, and then an old lease looks as if it held. The wall clock is usually set right soon
    /// after: when the two have moved apart, the lease is given up, and the next poll brings another.
    fn compare_clocks(&mut self) {
        let Some(Apart { counted, shown }) = self.clocks.read(SystemBootClock.boottime(), SystemClock.now()) else {
            return;
        };
        if self.view.lease().is_some() {
            self.meter.clock_anomaly();
            self.view.withdraw();
            self.moved.send_modify(|count| *count += 1);
            tracing::warn!(?counted, ?shown, "clock_anomaly: the clocks have moved apart; asking the database anew");
        }
    }

    /// A look if that is enough, or else a poll, and what follows from it; how long until the next one.
    fn round(&mut self, hinted: bool) -> Result<Duration, StoreError> {
        let wanted = self.wanted.swap(false, Ordering::AcqRel);
        let heard = self.hint.take();
        if hinted && !wanted && (self.knows(heard) || self.look()?) {
            return Ok(self.due.saturating_duration_since(Instant::now()));
        }
        // Each thing that is asked may take its time, and a clock that stands still is to be noticed in the meantime.
        self.compare_clocks();
        let meter = Arc::clone(&self.meter);
        let failed = |error: &StoreError| meter.poll_failed(error);
        let at = SystemBootClock.boottime();
        if !self.replica.is_connected() || self.follower.must_register(at) {
            self.replica.register().inspect_err(failed)?;
            self.follower.registered_again(at);
        }
        let known = self.follower.view().map(|view| (view.epoch().clone(), view.revision()));
        let sent = SystemBootClock.boottime();
        let asked = Instant::now();
        let Some(polled) =
            self.replica.poll(known.as_ref().map(|(epoch, applied)| (epoch, *applied))).inspect_err(failed)?
        else {
            self.replica.register().inspect_err(failed)?;
            return Ok(Duration::ZERO);
        };
        self.meter.polled(asked.elapsed());
        if let Some((_, applied)) = known {
            self.told.send_replace(applied);
        }
        fault::point(Point::Answered);
        let sent = if fault::mutant(Mutant::LeaseFromAnswer) { SystemBootClock.boottime() } else { sent };
        let (ttl, standbys) = (polled.answer.ttl, polled.standbys);
        self.due = asked + ttl / POLLS_PER_LEASE;
        match self.take(sent, polled, true)? {
            Taken::Again => return Ok(Duration::ZERO),
            // The registry hears of it with the next poll, which waits for the standby.
            Taken::News if standbys => return Ok(Duration::ZERO),
            Taken::News => self.tell()?,
            Taken::Same => {}
        }
        Ok(self.due.saturating_duration_since(Instant::now()))
    }

    /// Whether what was heard of is published already, and the registry was told: a commit is heard of in more ways than one.
    fn knows(&self, heard: Revision) -> bool {
        let published = self.view.lease().map(|lease| lease.revision());
        let known = published.is_some_and(|known| known >= heard && known == *self.told.borrow());
        known && self.replica.is_connected() && Instant::now() < self.due
    }

    /// Looks for the commit that was heard of, and tells the registry of it. False where it takes a poll.
    fn look(&mut self) -> Result<bool, StoreError> {
        // A lease that was given up is not taken up again: a poll brings another.
        let may = self.replica.is_connected() && self.view.lease().is_some();
        let Some(view) = self.follower.view().filter(|_| may) else { return Ok(false) };
        // What holds on to a view holds up its successor (`drain`).
        let (epoch, applied) = (view.epoch().clone(), view.revision());
        if fault::mutant(Mutant::StandbyPoll) || Instant::now() >= self.due {
            return Ok(false);
        }
        let sent = SystemBootClock.boottime();
        let looked = self.replica.look(&epoch, applied);
        let Some(looked) = looked.inspect_err(|error| self.meter.poll_failed(error))? else { return Ok(false) };
        fault::point(Point::Answered);
        if looked.standbys {
            return Ok(false);
        }
        // Heard of more than once, or of what a poll has found already.
        if looked.answer.revision == applied && looked.answer.epoch == epoch {
            return Ok(true);
        }
        if self.take(sent, looked, false)? != Taken::News {
            return Ok(false);
        }
        self.tell()?;
        Ok(true)
    }

    /// Tells the registry what is published.
    fn tell(&mut self) -> Result<(), StoreError> {
        self.compare_clocks();
        let Some(view) = self.follower.view() else { return Ok(()) };
        self.replica.tell(view.epoch(), view.revision()).inspect_err(|error| self.meter.poll_failed(error))?;
        self.told.send_replace(view.revision());
        Ok(())
    }

    /// The policies that an answer names, built and checked, where they are not those that are shown already. Where that
    /// cannot be done the answer is not taken: no lease may be extended past policies that nobody here can apply.
    fn policies(&mut self, named: Option<&str>) -> Result<Option<Arc<SitePolicies>>, StoreError> {
        let found = self.find_policies(named);
        match &found {
            Ok(_) => self.unusable.store(false, Ordering::Release),
            Err(Unfound::Unread(error)) => self.meter.poll_failed(error),
            Err(Unfound::Unusable(_)) => {
                self.unusable.store(true, Ordering::Release);
                self.meter.policies_unusable();
            }
        }
        found.map_err(|unfound| match unfound {
            Unfound::Unread(error) => error,
            Unfound::Unusable(why) => StoreError::Unavailable(format!(
                "the policies in force ({}) cannot be used: {why}",
                named.unwrap_or("-")
            )),
        })
    }

    fn find_policies(&mut self, named: Option<&str>) -> Result<Option<Arc<SitePolicies>>, Unfound> {
        let Some(named) = named else { return Err(Unfound::Unusable("there are none".into())) };
        if self.view.policies().bundle().sha256() == named || fault::mutant(Mutant::OldPolicies) {
            return Ok(None);
        }
        if let Some((name, why, at)) = &self.refused
            && name == named
            && at.elapsed() < BUILD_AGAIN
        {
            return Err(Unfound::Unusable(why.clone()));
        }
        let read = self.runtime.block_on(self.store.policies(named)).map_err(Unfound::Unread)?;
        let built = policies::build(named, read);
        self.refused = built.as_ref().err().map(|why| (named.to_owned(), why.clone(), Instant::now()));
        built.map(Some).map_err(Unfound::Unusable)
    }

    /// Takes the answer to a poll, or to a look, which renews no lease.
    fn take(&mut self, sent: Boot, polled: Polled, renews: bool) -> Result<Taken, StoreError> {
        let Polled { answer, clock, committed, policy, .. } = polled;
        let (revision, ttl) = (answer.revision, answer.ttl);
        let (epoch, chain) = (answer.epoch.id.clone(), answer.chain.clone());
        let followed = self.follower.view().filter(|view| *view.epoch() == answer.epoch).map(|view| view.revision());
        let news = followed != Some(revision);
        // Only where every revision in between is told of, and tells of sites, are agencies and staff what they were.
        let told: BTreeSet<Revision> = answer.changes.iter().map(|(revision, _)| *revision).collect();
        let between = followed.and_then(|known| usize::try_from(revision.0.saturating_sub(known.0)).ok());
        let gapless = answer.complete && between == Some(told.len());
        let directory = if !gapless || answer.changes.iter().any(|(_, key)| !key.as_str().starts_with("site:")) {
            let read = self.runtime.block_on(self.store.directory());
            let read = read.inspect_err(|error| self.meter.poll_failed(error))?;
            if (read.revision, &read.epoch) != (revision, &answer.epoch) {
                // Somebody committed in between: agencies of another revision than the sites would be a mixture.
                return Ok(Taken::Again);
            }
            Some(read.value)
        } else {
            None
        };
        let policies = self.policies(policy.as_deref())?;
        if fault::mutant(Mutant::AckOnReceipt) {
            drop(self.replica.poll(Some((&answer.epoch, revision))));
        }
        fault::point(Point::BeforePublish);
        let before = self.view.lease();
        let step = if renews {
            self.follower.answered(sent, answer)
        } else {
            Ok(self.follower.looked(sent, answer).unwrap_or(Step::Ignored))
        };
        match step {
            Ok(step) => {
                // What was ignored, because the clock stands still, is no news: nobody waits for it or asks for more at once.
                let news = news && step.view().is_some();
                self.clock.read(sent, clock);
                self.chains.note(&epoch, revision, chain.as_str());
                self.view.follow(&step, directory, policies, committed);
                if renews && fault::mutant(Mutant::TimerLease) {
                    fault::timer_begins(ttl);
                }
                self.moved.send_modify(|count| *count += 1);
                if self.replica.has_turn() {
                    self.wake.polled(news);
                }
                if std::mem::replace(&mut self.troubled, false) {
                    tracing::info!(%revision, "this replica follows the database again");
                }
                // The registry hears of what was published after this.
                if let Some(before) = before.filter(|_| news) {
                    drain(&before);
                }
                Ok(if news { Taken::News } else { Taken::Same })
            }
            Err(reason) => {
                self.meter.poll_rejected(&reason);
                if reason.quarantines() {
                    self.replica.want_turn(false);
                    self.replica.disconnect();
                }
                if reason.quarantines() && !self.quarantined.swap(true, Ordering::AcqRel) {
                    self.meter.regressed();
                    self.view.withdraw();
                    self.moved.send_modify(|count| *count += 1);
                    tracing::error!(
                        %reason,
                        "revision_regression: this replica answers nothing until it is restarted; look at the database first"
                    );
                }
                Err(StoreError::Unavailable(reason.to_string()))
            }
        }
    }
}

/// What came of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// Something newer is published.
    News,
    /// There is nothing newer.
    Same,
    /// Somebody committed in between: it is to be asked again.
    Again,
}

/// Why the policies in force are not at hand.
enum Unfound {
    /// They could not be read, this time.
    Unread(StoreError),
    /// They are not there, not what their name says, or nothing that this version understands.
    Unusable(String),
}

/// Waits, not for long, until no check is answered under `before` any more. Safety does not rest on it: those checks were
/// received before the change is effective, and it only makes their late answers rarer.
fn drain(before: &Arc<lease::View>) {
    // By a clock of its own: whoever looks at the other one must not wait for it to go on.
    let begun = Instant::now();
    while Arc::strong_count(before) > 1 && begun.elapsed() < DRAIN.0 {
        std::thread::sleep(DRAIN.1);
    }
}
