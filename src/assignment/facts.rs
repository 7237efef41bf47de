//! The facts that policies read, as booleans of this moment.
//!
//! Policies see neither deadlines nor clocks: everything that time changes is computed here, for each request, from
//! stored deadlines and `now`, so that nothing remembered can outlive a deadline.

use crate::site::Mode;

macro_rules! facts {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name { $($(#[$fdoc])* pub $field: bool),+ }

        impl $name {
            /// The attributes' names, in the order of [`Self::values`].
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];
            /// The values, in the order of [`Self::NAMES`].
            #[must_use]
            pub fn values(&self) -> [bool; [$(stringify!($field)),+].len()] {
                [$(self.$field),+]
            }
            /// How many different values there are.
            pub const COUNT: u16 = 1 << Self::NAMES.len();
            /// Position among all of them.
            #[must_use]
            pub fn bits(&self) -> u16 {
                self.values().iter().rev().fold(0, |bits, value| bits << 1 | u16::from(*value))
            }
            /// The facts whose bit is set, the first name being the lowest bit.
            #[must_use]
            pub fn from_bits(bits: u16) -> Self {
                let mut n = 0;
                $(let $field = bits >> n & 1 == 1; n += 1;)+
                let _ = n;
                Self { $($field),+ }
            }
        }
    };
}

facts!(
    /// What is true of a site now.
    Flags {
        /// The agency that holds the Owner or Partner seat is not active.
        agency_suspended,
        /// A freeze has not ended.
        frozen,
        /// The site is in the trash.
        trashed,
        /// A successor of the owner is looked for.
        custody,
        /// A payment for the plan failed.
        past_due,
        /// The plan lapsed.
        lapsed,
        /// An offer waits for its answer.
        handover_open,
        /// A handover can still be undone at once.
        settling,
        /// The site is on its way back to its client.
        return_pending,
        /// It is, because the client asked.
        reclaim_pending,
        /// It is, and partner writes are stopped.
        locked,
    }
);

facts!(
    /// What is true of one request.
    Circumstances {
        /// The person proved lately who they are.
        fresh_sign_in,
        /// The client confirmed this act.
        confirmed,
        /// The card or invoice is the asker's own account's.
        own_account,
        /// The asker's grantor is the plan holder.
        granted_by_payer,
        /// The asker's role was given by the partner's side.
        partner_side,
        /// The asker's agency grant has not ended.
        grant_live,
        /// The client keeps the asker out.
        blocked,
        /// A support session has not ended.
        support_session_live,
        /// Trust and safety named a case.
        case_given,
    }
);

impl Circumstances {
    /// The circumstances under which most is allowed.
    #[must_use]
    pub const fn favourable() -> Self {
        Self {
            fresh_sign_in: true,
            confirmed: true,
            own_account: true,
            granted_by_payer: true,
            partner_side: false,
            grant_live: true,
            blocked: false,
            support_session_live: true,
            case_given: true,
        }
    }
}

/// Everything about one request that policies may read, besides who holds which role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facts {
    /// The site's mode.
    pub mode: Mode,
    /// The site's flags.
    pub flags: Flags,
    /// The request's circumstances.
    pub circumstances: Circumstances,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_facts_are_the_same_thing() {
        for bits in 0..Circumstances::COUNT {
            assert_eq!(Circumstances::from_bits(bits).bits(), bits);
        }
        assert!(Circumstances::from_bits(1).fresh_sign_in);
    }
}
