//! Where can this program be made to fail on purpose? Points, a bent clock and planted mistakes, for the fault suite.
//!
//! None of it is in the shipped program: without the cargo feature `faults` every function here is empty and folds away.
//! With it the file named by `MANDATE_FAULT_FILE` is read anew at each point, so that a test switches faults while the
//! program runs. Its lines:
//!
//! ```text
//! point NAME sleep MILLISECONDS    wait there
//! point NAME hold                  wait there until the file says so no more
//! point NAME stop                  SIGSTOP, as a debugger or a full machine would
//! point NAME die                   end at once, as a killed process does
//! clock rate 0.92                  the boot clock runs so fast
//! clock frozen                     the boot clock stands still, as in a paused virtual machine
//! mutant NAME                      the program makes this mistake
//! ```
//!
//! Each [`Mutant`] but the last is one of the mistakes that the model check (`src/lease/tests/model`) finds in the protocol; here the
//! program itself makes it, and the fault suite must notice. A suite that cannot tell them from the program proves nothing.

/// A place where the program can be held up or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Everything is written, COMMIT is not sent.
    BeforeCommit,
    /// COMMIT has returned, nobody was told.
    AfterCommit,
    /// A change waits to be effective.
    WhileWaiting,
    /// A change is effective, its answer is not written.
    BeforeReply,
    /// A check has pinned its view.
    Pinned,
    /// A check has looked at its lease for the last time, its answer is not written.
    Evaluated,
    /// A site has been read from the database for a check, and nothing was done with it yet.
    SiteRead,
    /// A poll was answered, and nothing was done with the answer yet.
    Answered,
    /// A poll was answered, its view is not published.
    BeforePublish,
}

/// A mistake in the protocol of `lease`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A change is called effective as soon as it is committed.
    AckAtCommit,
    /// The wait for leases is a quarter too short.
    ShortWait,
    /// The wait does not allow for clocks that drift.
    NoDrift,
    /// A lease is counted from the poll's answer.
    LeaseFromAnswer,
    /// A lease is a flag that a timer clears.
    TimerLease,
    /// Copies from the shared cache are believed whatever their tag.
    Untagged,
    /// What is read gets the watermark of the reader as its tag, not the revision of the snapshot.
    TagAtFill,
    /// Values are looked up under one view and the lease is taken from another.
    TwoViews,
    /// A hot standby may answer a poll.
    StandbyPoll,
    /// The registry is told of a revision before it is published.
    AckOnReceipt,
    /// Checks go on by the policies from before, when others come into force.
    OldPolicies,
}

#[cfg(not(feature = "faults"))]
mod switched {
    use std::time::Duration;

    use super::{Mutant, Point};

    /// Nothing.
    pub const fn point(_: Point) {}

    /// The program makes no mistake on purpose.
    #[must_use]
    pub const fn mutant(_: Mutant) -> bool {
        false
    }

    /// Nothing.
    pub const fn timer_begins(_: Duration) {}

    /// Never.
    #[must_use]
    pub const fn timer_holds() -> bool {
        false
    }

    /// The clock as it is.
    #[must_use]
    pub const fn bent(real: Duration) -> Duration {
        real
    }
}

#[cfg(feature = "faults")]
mod switched {
    use std::{
        process::Command,
        sync::{
            Mutex,
            atomic::{AtomicU64, Ordering},
        },
        thread,
        time::Duration,
    };

    use super::{Mutant, Point};

    impl Point {
        const fn name(self) -> &'static str {
            match self {
                Self::BeforeCommit => "before_commit",
                Self::AfterCommit => "after_commit",
                Self::WhileWaiting => "while_waiting",
                Self::BeforeReply => "before_reply",
                Self::Pinned => "pinned",
                Self::Evaluated => "evaluated",
                Self::SiteRead => "site_read",
                Self::Answered => "answered",
                Self::BeforePublish => "before_publish",
            }
        }
    }

    impl Mutant {
        const fn name(self) -> &'static str {
            match self {
                Self::AckAtCommit => "ack_at_commit",
                Self::ShortWait => "short_wait",
                Self::NoDrift => "no_drift",
                Self::LeaseFromAnswer => "lease_from_answer",
                Self::TimerLease => "timer_lease",
                Self::Untagged => "untagged",
                Self::TagAtFill => "tag_at_fill",
                Self::TwoViews => "two_views",
                Self::StandbyPoll => "standby_poll",
                Self::AckOnReceipt => "ack_on_receipt",
                Self::OldPolicies => "old_policies",
            }
        }
    }

    /// The words of the file's line that begins with these, if there is one.
    fn line(begin: &[&str]) -> Option<Vec<String>> {
        let text = std::fs::read_to_string(std::env::var_os("MANDATE_FAULT_FILE")?).ok()?;
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let fits = begin.iter().all(|wanted| words.next().as_deref() == Some(wanted));
            fits.then(|| words.collect())
        })
    }

    /// Does here what the file says.
    pub fn point(point: Point) {
        let Some(words) = line(&["point", point.name()]) else { return };
        tracing::warn!(?point, ?words, "a planted fault");
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["sleep", millis] => thread::sleep(Duration::from_millis(millis.parse().unwrap_or(0))),
            ["hold"] => {
                while line(&["point", point.name(), "hold"]).is_some() {
                    thread::sleep(TICK);
                }
            }
            ["stop"] => {
                let _ = Command::new("kill").args(["-STOP", &std::process::id().to_string()]).status();
            }
            ["die"] => std::process::abort(),
            _ => tracing::error!(?words, "no such fault"),
        }
    }

    /// Whether the program makes this mistake.
    #[must_use]
    pub fn mutant(mutant: Mutant) -> bool {
        line(&["mutant", mutant.name()]).is_some()
    }

    /// Between two looks, and what a timer counts in.
    const TICK: Duration = Duration::from_millis(5);

    /// How many leases there were, and the last one that a timer has not ended; zero when it has.
    static LEASES: AtomicU64 = AtomicU64::new(0);
    static HELD: AtomicU64 = AtomicU64::new(0);

    /// A lease whose end is a timer's business: one that counts its own ticks, as a timer wheel does, and none while the
    /// process is stopped.
    pub fn timer_begins(length: Duration) {
        let lease = LEASES.fetch_add(1, Ordering::SeqCst) + 1;
        HELD.store(lease, Ordering::SeqCst);
        thread::spawn(move || {
            let mut counted = Duration::ZERO;
            while counted < length {
                thread::sleep(TICK);
                counted += TICK;
            }
            let _ = HELD.compare_exchange(lease, 0, Ordering::SeqCst, Ordering::SeqCst);
        });
    }

    /// Whether the timer has not run yet.
    #[must_use]
    pub fn timer_holds() -> bool {
        HELD.load(Ordering::SeqCst) != 0
    }

    /// What was read last, and what was shown for it.
    static SHOWN: Mutex<Option<(Duration, Duration)>> = Mutex::new(None);

    /// The clock as the file bends it, from the first reading on.
    #[must_use]
    pub fn bent(real: Duration) -> Duration {
        let words = line(&["clock"]).unwrap_or_default();
        let rate = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["frozen"] => 0.0,
            ["rate", rate] => rate.parse().unwrap_or(1.0),
            _ => 1.0,
        };
        let mut shown = SHOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (before, last) = shown.unwrap_or((real, real));
        let now = last + real.saturating_sub(before).mul_f64(rate);
        *shown = Some((before.max(real), now));
        now
    }
}

pub use switched::{bent, mutant, point, timer_begins, timer_holds};
