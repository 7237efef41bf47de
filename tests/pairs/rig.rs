//! A database with a standby, and replicas in front of it.

use std::time::Duration;

use crate::{
    postgres_pair::{Node, Pair, Waits},
    proxy::Proxy,
    world::{Replica, Run, prepare},
};

/// How many flips may pass until everybody is heard.
const SETTLING: usize = 40;

/// A pair of servers, the proxy between them, and replicas.
pub struct Rig {
    // First, so that replicas end before their database does.
    pub run: Run,
    pair: Pair,
    link: Proxy,
}

impl Rig {
    /// So many replicas, and the story in the database.
    pub fn followed(waits: Waits, replicas: usize, lease: Duration, settings: &[(&str, &str)]) -> Self {
        let mut link = None;
        let pair = Pair::start(waits, |primary| link.insert(Proxy::to(primary)).address());
        let primary = &pair.primary;
        prepare(primary.address(), lease, |sql| primary.ask(sql));
        let replicas = (0..replicas).map(|_| Replica::start(primary.address(), settings)).collect();
        Self { run: Run::of(replicas), pair, link: link.unwrap() }
    }

    pub const fn primary(&self) -> &Node {
        &self.pair.primary
    }
    pub const fn pair(&mut self) -> &mut Pair {
        &mut self.pair
    }
    pub const fn link(&self) -> &Proxy {
        &self.link
    }

    /// Ends what was done to the replicas: no fault, no cut, and everybody at the primary.
    pub fn calm(&self) {
        for replica in &self.run.replicas {
            replica.fault(&[]);
            replica.proxy.lead_to(self.primary().address());
        }
        self.link.heal();
    }

    /// Changes what holds until everybody is heard at once, and `other` has the site in its cache.
    #[track_caller]
    pub fn settle(&mut self, writer: usize, other: usize) {
        for _ in 0..SETTLING {
            let told = self.run.flip(writer);
            if told["acks"] == "all" && self.run.ask(other).is_ok() {
                return;
            }
        }
        panic!("in {SETTLING} changes not everybody was heard");
    }
}
