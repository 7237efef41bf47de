//! Who walks where, and the closed lists of the contract.

pub const PEOPLE: [&str; 12] =
    ["maria", "tom", "jonas", "eve", "lea", "dana", "dan", "bo", "kim", "rita", "uma", "sven"];
pub const AGENCIES: [&str; 4] = ["north", "south", "west", "unverified"];
pub const ROLES: [&str; 9] = [
    "CoOwner",
    "WebsiteManager",
    "WebsiteDesigner",
    "BillingManager",
    "DomainManager",
    "BlogEditor",
    "StoreManager",
    "MarketingManager",
    "Viewer",
];
/// What nobody is invited to.
pub const NO_ROLES: [&str; 5] = ["Owner", "Client", "Partner", "SupportAgent", "Tsar"];

/// An agency's people, with what each is there.
type Team = &'static [(&'static str, &'static str)];
/// Agency, verified, its people.
pub const TEAMS: [(&str, bool, Team); 4] = [
    ("north", true, &[("dana", "admin"), ("dan", "admin"), ("bo", "member"), ("kim", "billing"), ("lea", "member")]),
    ("south", true, &[("rita", "admin"), ("uma", "member")]),
    ("west", true, &[("sven", "admin"), ("bo", "member"), ("dana", "admin")]),
    ("unverified", false, &[("eve", "admin")]),
];
/// Site, mode, owner. Rita and Dana are admins of agencies, too: they may hand their own sites to them.
pub const SITES: [(&str, &str, &str); 7] = [
    ("bakery", "self_managed", "user:maria"),
    ("flowers", "self_managed", "user:tom"),
    ("studio", "partner_built", "agency:north"),
    ("gallery", "partner_built", "agency:south"),
    ("lab", "self_managed", "user:rita"),
    ("shop", "self_managed", "user:dana"),
    ("club", "partner_built", "agency:west"),
];
pub const STAFF: [(&str, &str); 4] =
    [("tess", "trust_safety"), ("theo", "trust_safety"), ("sam", "support"), ("sue", "support")];
/// What a partner may do with the client's confirmation only (domain §4, code 2).
pub const CONFIRMED: [&str; 5] = ["TrashSite", "RefundOrder", "EditDnsCritical", "ViewPayouts", "ManageMailboxes"];

/// Every code with which a command may be refused, with its status. Another one is a change of the contract.
pub const CODES: [(&str, u16); 54] = [
    ("admin_acts_for_agency", 409),
    ("agency_needed", 400),
    ("agency_suspended", 403),
    ("already_so", 409),
    ("approver_needed", 403),
    ("blocked", 422),
    ("blocked_by_client", 403),
    ("confirm_required", 403),
    ("freeze_used", 409),
    ("grant_expired", 403),
    ("handover_already_open", 409),
    ("has_role", 409),
    ("idempotency_key_missing", 400),
    ("illegal_transition", 409),
    ("invalid_body", 400),
    ("invalid_header", 400),
    ("invalid_id", 400),
    ("invalid_json", 400),
    ("invalid_query", 400),
    ("key_reused", 422),
    ("may_not_grant", 403),
    ("no_role", 403),
    ("no_session", 403),
    ("not_a_party", 403),
    ("not_confirmable", 422),
    ("not_payer", 403),
    ("not_your_own", 403),
    ("other_side", 403),
    ("out_of_range", 400),
    ("own_account", 422),
    ("preview_changed", 409),
    ("preview_digest_missing", 400),
    ("role_lacks_action", 403),
    ("service_only", 403),
    ("stale_if_match", 412),
    ("stepup_required", 403),
    ("terminal:accepted", 409),
    ("terminal:cancelled", 409),
    ("terminal:declined", 409),
    ("terminal:expired", 409),
    ("terminal:invalidated", 409),
    ("terminal:superseded", 409),
    ("unknown_agency", 404),
    ("unknown_command", 400),
    ("unknown_confirmation", 404),
    ("unknown_contributor", 404),
    ("unknown_domain", 422),
    ("unknown_handover", 404),
    ("unknown_language", 400),
    ("unknown_member", 404),
    ("unknown_role", 400),
    ("unknown_site", 404),
    ("unknown_staff", 404),
    ("wrong_site_code", 403),
];

/// What time does, as the audit tells it.
pub const BY_TIME: [&str; 13] = [
    "HandoverExpired",
    "HandoverReminder",
    "HandoverSuperseded",
    "HandoverInvalidated",
    "SiteUnfrozen",
    "PlanLapsed",
    "PlanBridgeEnded",
    "ReturnScheduled",
    "ReturnCancelled",
    "SiteReturned",
    "SeatsChanged",
    "PlanHolderChanged",
    "SitePurged",
];
