//! Decisions do not wait for the worker: a service whose worker never ran answers, at every deadline to the microsecond,
//! as one whose worker never was late. What only a commit gives, new seats, is the one difference.

use mandate::handover::Timers;
use serde_json::{Value, json};

use super::scene::{DAY, Scene, micros};

const ACTIONS: [&str; 24] = [
    "ViewSite",
    "PublishSite",
    "DuplicateSite",
    "ExportSite",
    "TrashSite",
    "PurgeSite",
    "EditContent",
    "ViewOrders",
    "RefundOrder",
    "ExportContacts",
    "ManageApiKeys",
    "EditDnsCritical",
    "TransferDomain",
    "ViewPlan",
    "UpgradePlan",
    "CancelPlan",
    "InviteContributor",
    "ChangeContributorRole",
    "ReclaimSite",
    "ReleaseSite",
    "ResignAsPartner",
    "RescuePlan",
    "AcceptHandover",
    "OfferPartnerRole",
];
const WHO: [&str; 9] =
    ["user:maria", "user:ann", "user:bo", "user:kim", "user:pia", "user:carl", "user:sue", "staff:sam", "staff:tess"];

/// What happens before time does the rest; answers the deadlines to look at.
type Story = fn(&mut Scene) -> Vec<i64>;

fn managed(scene: &mut Scene) {
    scene.hands_over("shop");
    scene.does("shop", "user:ann", "grant_agency_access", &json!({"user": "bo", "template": "builder"}));
    scene.does("shop", "user:ann", "grant_role", &json!({"user": "pia", "role": "WebsiteManager"}));
    scene.does("shop", "user:maria", "grant_role", &json!({"user": "carl", "role": "CoOwner"}));
    scene.pass(8 * DAY);
}
fn pending(site: &Value) -> i64 {
    micros(&site["site"]["return_pending"]["effective_at"])
}

const STORIES: [(&str, Story); 11] = [
    ("an offer's end", |scene| vec![micros(&scene.offers("shop")["expires_at"])]),
    ("settling's end", |scene| vec![micros(&scene.hands_over("shop")["site"]["settling_until"])]),
    ("a reclaim", |scene| {
        managed(scene);
        vec![pending(&scene.does("shop", "user:maria", "reclaim_site", &json!({"lock": true})))]
    }),
    ("a resignation", |scene| {
        managed(scene);
        vec![pending(&scene.does("shop", "user:ann", "resign_as_partner", &json!({})))]
    }),
    ("an unpaid plan", |scene| {
        managed(scene);
        let plan = scene.does("shop", "service:billing", "report_plan", &json!({"status": "past_due"}))["site"]["plan"]
            .clone();
        vec![micros(&plan["lapses_at"]), micros(&plan["returns_at"])]
    }),
    ("a plan that was unpaid when the client came", |scene| {
        let plan = scene.assigns_unpaid("salon")["site"]["plan"].clone();
        scene.does("salon", "user:ann", "grant_agency_access", &json!({"user": "bo", "template": "builder"}));
        scene.does("salon", "user:ann", "grant_role", &json!({"user": "pia", "role": "WebsiteManager"}));
        vec![micros(&plan["lapses_at"]), micros(&plan["returns_at"])]
    }),
    ("an unpaid plan under a freeze", |scene| {
        managed(scene);
        scene.does("shop", "service:billing", "report_plan", &json!({"status": "past_due"}));
        scene.pass(3 * DAY);
        let site = scene.does("shop", "staff:tess", "freeze_site", &json!({"case": "c-1"}))["site"].clone();
        vec![micros(&site["frozen_until"]), micros(&site["plan"]["lapses_at"]), micros(&site["plan"]["returns_at"])]
    }),
    ("a reclaim under a freeze", |scene| {
        managed(scene);
        let frozen = scene.does("shop", "staff:tess", "freeze_site", &json!({"case": "c-1"}));
        let back = pending(&scene.does("shop", "user:maria", "reclaim_site", &json!({})));
        vec![micros(&frozen["site"]["frozen_until"]), back]
    }),
    ("a suspended agency", |scene| {
        managed(scene);
        scene.agency("north", "suspended").ok();
        vec![scene.now() + 14 * DAY]
    }),
    ("grants, sessions, confirmations", |scene| {
        managed(scene);
        let end = mandate::time::Timestamp::from_micros(scene.now() + 2 * DAY);
        scene.does(
            "shop",
            "user:ann",
            "grant_agency_access",
            &json!({"user": "bo", "template": "manager", "expires_at": end}),
        );
        scene.does("shop", "user:maria", "grant_support_session", &json!({"agent": "sam"}));
        scene.does(
            "shop",
            "user:maria",
            "confirm_partner_action",
            &json!({"action": "RefundOrder", "operation": "act-1"}),
        );
        let now = scene.now();
        vec![now + DAY / 24, now + DAY, now + 2 * DAY]
    }),
    ("the trash", |scene| {
        scene.does("shop", "user:maria", "trash_site", &json!({}));
        vec![scene.now() + 30 * DAY]
    }),
];

/// Every answer there is.
fn answers(scene: &mut Scene) -> Vec<(&'static str, &'static str, bool)> {
    let pairs = WHO.into_iter().flat_map(|who| ACTIONS.map(|action| (who, action)));
    let site = scene.site;
    pairs.map(|(who, action)| (who, action, scene.may(who, action, site))).collect()
}

#[test]
fn a_worker_that_never_ran_changes_no_decision() {
    let mut changed = 0;
    for (name, story) in STORIES {
        let scene = || Scene::at("2027-06-01T08:00:00.654321Z", Timers::default());
        let (mut prompt, mut late) = (scene(), scene());
        let deadlines = story(&mut prompt);
        assert_eq!(story(&mut late), deadlines, "{name}");
        let mut before = answers(&mut prompt);
        for deadline in deadlines {
            for at in [deadline - 1, deadline, deadline + 1, deadline + 2 * DAY] {
                prompt.set(at);
                late.set(at);
                prompt.world.work(1);
                let (committed, derived) = (answers(&mut prompt), answers(&mut late));
                for ((who, action, now), (_, _, derived)) in committed.iter().zip(&derived) {
                    let at = mandate::time::Timestamp::from_micros(at);
                    // A new owner's rights come with the commit, and a client's end with it; so does what those may
                    // spend whom the owner invited. Nobody else's wait, and nothing of the partner's.
                    let owners = *who == "user:carl" && *now && ["UpgradePlan", "TrashSite"].contains(action);
                    if *who == "user:maria" || owners {
                        continue;
                    }
                    assert_eq!(now, derived, "{name}: {who} {action} at {at}, committed and not");
                }
                if at == deadline {
                    changed += usize::from(committed != before);
                }
                before = committed;
            }
        }
        // Written down at last, it is as if it had been on time.
        late.world.work(2);
        let (mut one, mut other) = (prompt.doc(prompt.site), late.doc(late.site));
        for doc in [&mut one, &mut other] {
            doc["revision"] = json!(0);
            // Names of handovers are drawn.
            doc["open_handover"] = json!(doc["open_handover"].is_string());
        }
        assert_eq!(one, other, "{name}");
        assert_eq!(answers(&mut prompt), answers(&mut late), "{name}");
    }
    // The control: the deadlines are real ones, at which answers change.
    assert!(changed >= 10, "{changed} deadlines changed anything");
}
