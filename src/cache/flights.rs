//! Who loads, when many ask for the same at once? One does, and everybody gets what it found, errors included.
//!
//! After a shared cache was emptied every site is asked for at once, by many callers each: then one load runs for each
//! site ([`Flights::join`]) and a bounded number of loads at all, so that a store sees a queue and not a storm.
//!
//! What is shared is the load, never a verdict about it: the answer may have been read before the caller asked, so a
//! caller judges its revision against the view it pinned itself (consistency §1, `usable`).
//!
//! Invariants: a load is a task of its own, so that a caller that goes away strands nobody; a load that ended is never
//! joined; a load whose callers all went away while it waited for its turn does not run. The leader's own future as the
//! load lost: it is dropped with the leader's connection, and the others would wait for ever.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

/// Loads in the air, one for each key.
#[derive(Debug)]
pub struct Flights<K, V>(Arc<Tower<K, V>>);

#[derive(Debug)]
struct Tower<K, V> {
    flying: Mutex<HashMap<K, Flight<V>>>,
    turns: Semaphore,
}

/// Where a load's answer will stand.
type Flight<V> = Arc<watch::Sender<Option<V>>>;

/// The load did not finish: it panicked, or the service ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the load did not finish")]
pub struct Lost;

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// No loads yet, and at most `at_once` of them at any time.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self(Arc::new(Tower { flying: Mutex::new(HashMap::new()), turns: Semaphore::new(at_once) }))
    }

    /// What the load of `key` answers: the one that is running, or else `load`, which then runs as a task.
    ///
    /// # Errors
    /// [`Lost`], when no answer will come.
    pub async fn join<F, L>(&self, key: K, load: F) -> Result<V, Lost>
    where
        F: FnOnce() -> L + Send + 'static,
        L: Future<Output = V> + Send + 'static,
    {
        let mut answer = self.board(key, load);
        let landed = answer.wait_for(Option::is_some).await.map_err(|_| Lost)?;
        landed.clone().ok_or(Lost)
    }

    /// How many loads run or wait for their turn.
    #[must_use]
    pub fn in_the_air(&self) -> usize {
        self.0.flying.lock().len()
    }

    fn board<F, L>(&self, key: K, load: F) -> watch::Receiver<Option<V>>
    where
        F: FnOnce() -> L + Send + 'static,
        L: Future<Output = V> + Send + 'static,
    {
        let mut flying = self.0.flying.lock();
        if let Some(flight) = flying.get(&key) {
            return flight.subscribe();
        }
        let (flight, answer) = watch::channel(None);
        let flight = Arc::new(flight);
        flying.insert(key.clone(), Arc::clone(&flight));
        let landing = Landing { tower: Arc::clone(&self.0), key, flight };
        tokio::spawn(landing.fly(load));
        answer
    }
}

/// One load. However it ends, its place is free afterwards, and whoever waits is told.
struct Landing<K: Eq + Hash, V> {
    tower: Arc<Tower<K, V>>,
    key: K,
    flight: Flight<V>,
}

impl<K: Eq + Hash, V> Landing<K, V> {
    async fn fly<F, L>(self, load: F)
    where
        F: FnOnce() -> L,
        L: Future<Output = V>,
    {
        let _turn = loop {
            tokio::select! {
                turn = self.tower.turns.acquire() => break turn,
                () = self.flight.closed() => if self.is_abandoned() { return },
            }
        };
        let value = load().await;
        // The place first: whoever comes now wants a load that begins now.
        self.leave();
        self.flight.send_replace(Some(value));
    }

    /// Whether nobody waits any more; then nobody can begin to.
    fn is_abandoned(&self) -> bool {
        let mut flying = self.tower.flying.lock();
        let abandoned = self.flight.receiver_count() == 0;
        if abandoned {
            flying.remove(&self.key);
        }
        abandoned
    }

    fn leave(&self) {
        let mut flying = self.tower.flying.lock();
        // The place may belong to a successor already.
        if flying.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            flying.remove(&self.key);
        }
    }
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::sync::Notify;

    use super::*;

    /// Loads that count themselves and wait to be let go.
    #[derive(Clone, Default)]
    struct Bench {
        began: Arc<AtomicUsize>,
        go: Arc<Notify>,
    }

    impl Bench {
        fn load(&self, answer: Result<u32, &'static str>) -> impl FnOnce() -> Loading + use<> {
            let bench = self.clone();
            move || {
                Box::pin(async move {
                    bench.began.fetch_add(1, Ordering::SeqCst);
                    bench.go.notified().await;
                    answer
                })
            }
        }
        fn begun(&self) -> usize {
            self.began.load(Ordering::SeqCst)
        }
        async fn until_begun(&self, loads: usize) {
            while self.begun() < loads {
                tokio::task::yield_now().await;
            }
        }
    }
    type Loading = std::pin::Pin<Box<dyn Future<Output = Result<u32, &'static str>> + Send>>;
    type Loads = Arc<Flights<&'static str, Result<u32, &'static str>>>;

    fn loads(at_once: usize) -> Loads {
        Arc::new(Flights::new(at_once))
    }
    fn ask(
        loads: &Loads,
        bench: &Bench,
        key: &'static str,
        answer: Result<u32, &'static str>,
    ) -> tokio::task::JoinHandle<Result<Result<u32, &'static str>, Lost>> {
        let (loads, load) = (Arc::clone(loads), bench.load(answer));
        tokio::spawn(async move { loads.join(key, load).await })
    }
    /// Lets every task that can run do so: there is one thread.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_hundred_callers_cost_one_load_and_share_its_error() {
        for answer in [Ok(7), Err("the store is away")] {
            let (loads, bench) = (loads(4), Bench::default());
            let callers: Vec<_> = (0..100).map(|_| ask(&loads, &bench, "a", answer)).collect();
            settle().await;
            assert_eq!((bench.begun(), loads.in_the_air()), (1, 1));
            bench.go.notify_one();
            for caller in callers {
                assert_eq!(caller.await.unwrap(), Ok(answer));
            }
            assert_eq!((bench.begun(), loads.in_the_air()), (1, 0));
            // What ended is not remembered: the next caller loads again.
            let next = ask(&loads, &bench, "a", Ok(8));
            bench.until_begun(2).await;
            bench.go.notify_one();
            assert_eq!(next.await.unwrap(), Ok(Ok(8)));
        }
    }

    /// Whether followers get an answer although the leader goes away; `begin` starts one caller.
    async fn followers_arrive(
        bench: &Bench,
        begin: impl Fn() -> tokio::task::JoinHandle<Option<u32>>,
    ) -> Result<Option<u32>, tokio::time::error::Elapsed> {
        let leader = begin();
        bench.until_begun(1).await;
        let follower = begin();
        settle().await;
        leader.abort();
        assert!(leader.await.unwrap_err().is_cancelled());
        bench.go.notify_waiters();
        let arrived = tokio::time::timeout(Duration::from_millis(200), follower).await?;
        Ok(arrived.unwrap())
    }

    #[tokio::test]
    async fn a_leader_that_goes_away_strands_nobody() {
        let (loads, bench) = (loads(1), Bench::default());
        let begin = || {
            let (loads, load) = (Arc::clone(&loads), bench.load(Ok(7)));
            tokio::spawn(async move { loads.join("a", load).await.ok()?.ok() })
        };
        assert_eq!(followers_arrive(&bench, begin).await, Ok(Some(7)));
        assert_eq!(bench.begun(), 1, "the load went on");

        // The control: the load as the leader's own future, and whoever comes later waits for its answer.
        let (answer, bench) = (Arc::new(watch::channel(None).0), Bench::default());
        let begin = || {
            let (answer, load, leads) = (Arc::clone(&answer), bench.load(Ok(7)), bench.begun() == 0);
            tokio::spawn(async move {
                if leads {
                    answer.send_replace(load().await.ok());
                }
                *answer.subscribe().wait_for(Option::is_some).await.ok()?
            })
        };
        assert!(followers_arrive(&bench, begin).await.is_err());
    }

    #[tokio::test]
    async fn a_load_that_panics_is_told_and_leaves_no_trace() {
        let loads = loads(1);
        let lost = loads.join("a", || async { panic!("planted") }).await;
        assert_eq!((lost, loads.in_the_air()), (Err(Lost), 0));
        assert_eq!(loads.join("a", || async { Ok(1) }).await, Ok(Ok(1)), "its turn was given back");
    }

    #[tokio::test]
    async fn loads_take_turns_and_those_nobody_waits_for_lose_theirs() {
        let (loads, bench) = (loads(2), Bench::default());
        let callers: Vec<_> = ["a", "b", "c", "d"].map(|key| ask(&loads, &bench, key, Ok(1))).into();
        settle().await;
        assert_eq!((bench.begun(), loads.in_the_air()), (2, 4));
        callers[2].abort();
        settle().await;
        assert_eq!(loads.in_the_air(), 3, "`c` waits no more");
        bench.go.notify_waiters();
        settle().await;
        assert_eq!((bench.begun(), loads.in_the_air()), (3, 1));
        bench.go.notify_waiters();
        for (caller, key) in callers.into_iter().zip(["a", "b", "c", "d"]) {
            assert_eq!(caller.await.is_err(), key == "c", "{key}");
        }
        assert_eq!((bench.begun(), loads.in_the_air()), (3, 0), "the control: `a`, `b` and `d` ran");
    }
}
