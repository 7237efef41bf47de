//! Faults of the one database: killed, stopped at once, and started again.

use std::time::Duration;

use super::{Run, effort};
use crate::{cluster::Plan, cluster::comes_true};

#[test]
#[cfg_attr(not(feature = "faults"), ignore = "needs the feature `faults`: `make faults`")]
fn s18_the_database_dies_and_recovers() {
    Run::of(18, "the database is killed, or stopped at once, and recovers").with(
        Plan { durable: true, ..Plan::default() },
        |world, load| {
            for n in 0..effort().1 * 2 {
                load.until_made(5);
                {
                    let mut database = world.database.lock();
                    if n % 2 == 0 { database.kill() } else { database.stop() }
                }
                let dark = comes_true(world.ttl() + Duration::from_secs(10), || {
                    world.replicas.iter().all(|replica| replica.ready() == Some(503))
                });
                assert!(dark, "a replica is ready without its database");
                let told = load.own(0, true);
                assert_eq!((told.status, told.code.as_str()), (503, "not_applied"), "{told:?}");
                world.database.lock().start_again();
                world.replicas.iter().for_each(crate::cluster::Replica::until_it_answers);
            }
            load.until_made(3);
            vec!["what was acknowledged was there".into()]
        },
    );
}
