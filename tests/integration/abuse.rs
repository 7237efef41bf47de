//! Abuse and edge cases: every row of the specification's table (domain §9) that Mandate can express, as a scene.
//!
//! Each scene plays in a world of its own (see `stage`) and has its control inside: what is refused to one is allowed
//! to another, or was allowed a moment before.
//!
//! | row | scene, or whose it is |
//! |---|---|
//! | phishing offer or request | `offering::phishing_request`, `offering::phishing_words`, `limits::per_sender`, `limits::per_recipient`, `limits::code_runs_out`; mails, report-abuse links and reputation are the platform's |
//! | look-alike agency name | `offering::look_alike`; logo and homoglyph warning are the platform's, which verifies names |
//! | invite to self, own agency | `offering::own_account`; flagging it is the platform's |
//! | invitee already contributor | `offering::invitee_already_contributor` |
//! | agency staff already direct contributors | `offering::staff_already_contributors` |
//! | mail forwarded, link leaked | `offering::link_leaked` |
//! | partner controls client's MX | `returning::client_mail` |
//! | double click, retry, two admins at once | `racing::double_click`, `racing::two_admins` |
//! | accept ∥ cancel ∥ expire ∥ reclaim | `racing::accept_cancel_decline`, `racing::accept_and_reclaim`; expiry is a matter of time: `timers` |
//! | two offers at once | `racing::two_offers`, `racing::offers_at_once` |
//! | old offer after ownership transfer | `racing::old_offer` |
//! | trashed or purged with open offers | `racing::trashed_with_offer`, `racing::purged_with_offer` |
//! | existing partner | `racing::existing_partner` |
//! | unpaid agency bills | `returning::agency_bills`; the note to trust and safety is the platform's |
//! | unpaid platform invoice | `returning::platform_invoice` |
//! | client free-rides | `returning::free_ride`; refunds are billing's |
//! | partner stops paying as pressure | `returning::partner_stops_paying` |
//! | sabotage in the notice window | `returning::sabotage`; version history is the platform's |
//! | mass invites before reclaim | `returning::mass_invites` |
//! | clones, app or key as back door | `returning::clones_and_keys`: what the platform reads to end them; it keeps them |
//! | agency employee leaves, rogue | `trust::employee_leaves` |
//! | last agency admin leaves | `trust::last_admin` |
//! | agency sold, merged | `trust::agency_sold`; the bulk mail is the platform's |
//! | suspended partner | `trust::suspended_partner`, and `suspension` |
//! | client suspended for abuse | `trust::client_suspended` |
//! | two people in the client firm | the platform's: who may use an account |
//! | co-owner tries to reclaim | `trust::co_owner_reclaims` |
//! | impersonation by support | `trust::impersonation`; the banner is the platform's |
//! | trust and safety insider | `trust::insider` |
//! | clock skew, late timers | `timers`, `kill` |
//! | closing an account with sites (§5.3, T28) | `trust::closing_account` |
//! | copyright, privacy, 60-day registrar lock | the platform's: contracts, notices, the appeal and the registrar |
//! | free site | `trust::free_site` |
//! | domain in another account | `trust::domain_elsewhere` |

mod limits;
mod offering;
mod racing;
mod returning;
mod trust;

use crate::stage::play;

#[test]
fn nobody_is_talked_or_tricked_into_an_offer() {
    play(offering::SCENES, &[]);
}

#[test]
fn of_several_at_once_one_wins_and_the_others_are_told() {
    play(racing::SCENES, &[]);
}

#[test]
fn nobody_wins_by_pressure_or_sabotage() {
    play(returning::SCENES, &[]);
}

#[test]
fn those_who_are_trusted_can_only_do_what_they_are_trusted_with() {
    play(trust::SCENES, &[]);
}

#[test]
fn offers_and_codes_are_limited() {
    play(limits::SCENES, limits::SETTINGS);
}
