//! Faults of clocks: one that is slow or fast, and one that stands still.
//!
//! What cannot be planted here is a wall clock that jumps: nothing in the protocol reads it (`src/lease`), and the detector of
//! clocks that move apart reads it only to give a lease up (`src/app/cluster/clocks.rs` tests the jump).

use super::{Run, effort};
use crate::{cluster::Plan, server::until};

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s24_clocks_are_slow_fast_and_frozen() {
    Run::of(24, "clocks run at 0.92 and 1.08 of their rate, and stand still").with(Plan::default(), |world, load| {
        let rounds = effort().1;
        // A replica whose clock is slow holds its lease for longer than it should, and is cut off with it.
        load.write_through(&[0, 1]);
        world.replicas[2].faults("clock rate 0.92");
        for _ in 0..rounds {
            load.until_made(2);
            world.replicas[2].database.blackhole();
            load.until_made(2);
            world.replicas[2].database.heal();
            world.replicas[2].until_it_answers();
        }
        world.replicas[2].faults("");
        // A writer whose clock is fast waits for less than it should.
        load.write_through(&[0]);
        world.replicas[0].faults("clock rate 1.08");
        for _ in 0..rounds {
            load.until_made(2);
            world.replicas[2].database.blackhole();
            load.until_made(2);
            world.replicas[2].database.heal();
            world.replicas[2].until_it_answers();
        }
        world.replicas[0].faults("");
        // A clock that stands still, as in a machine that is paused: it is noticed by the other clock, and the lease goes.
        let before = world.replicas[2].log().matches("clock_anomaly").count();
        world.replicas[2].faults("clock frozen");
        until("the detector fires", || {
            (world.replicas[2].log().matches("clock_anomaly").count() > before).then_some(())
        });
        world.replicas[2].faults("");
        vec!["a clock that stands still is noticed (`clock_anomaly`)".into()]
    });
}
