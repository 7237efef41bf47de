//! What happens in the story, chapter by chapter, and which answers are expected.

use serde_json::{Value, json};

use super::{
    facts,
    story::{Person, Story},
    teller::text,
};
use crate::cli::exit::Stop;

const MARIA: Person = Person::named("maria");
const DANA: Person = Person::named("dana");
const TOM: Person = Person::named("tom");
const EVE: Person = Person::named("eve");

const ALLOW: &str = "allow";

/// Plays every chapter.
pub fn all(story: &mut Story<'_>) -> Result<(), Stop> {
    story.tell().say(
        "The story of Maria's bakery, told by the answers of a running server. Each line is one call: questions go to \
         POST /access/v1/evaluation, commands to POST /v1/sites/{site}/transitions.",
    )?;
    before(story)?;
    offer_and_acceptance(story)?;
    after(story)?;
    taken_back_at_once(story)?;
    taken_back_with_notice(story)?;
    bonus(story)?;
    story.tell().chapter("7. What the log says about the bakery's site")?;
    story.history("bakery")
}

fn before(story: &mut Story<'_>) -> Result<(), Stop> {
    story.tell().chapter("1. Before")?;
    story.tell().say(
        "Maria runs the website of her bakery herself and pays for its hosting. Dana is an admin of the agency Studio \
         North. The platform registers all of it:",
    )?;
    let now = story.now();
    story.register("/v1/agencies/studio-north", &facts::studio_north())?;
    story.register("/v1/agencies/studio-north/members/dana", &json!({ "role": "admin" }))?;
    story.register("/v1/sites/bakery", &facts::bakery(now))?;
    story.tell().say("Who may do what?")?;
    story.ask(MARIA, "EditContent", "bakery", ALLOW)?;
    story.ask(MARIA, "UpgradePlan", "bakery", ALLOW)?;
    story.ask(MARIA, "TransferDomain", "bakery", "stepup_required")?;
    story.ask(MARIA.fresh(), "TransferDomain", "bakery", ALLOW)?;
    story.ask(DANA, "EditContent", "bakery", "no_role")?;
    story.ask(DANA, "UpgradePlan", "bakery", "no_role")
}

fn offer_and_acceptance(story: &mut Story<'_>) -> Result<(), Stop> {
    story.tell().chapter("2. Maria lets Studio North run her site")?;
    story.tell().say("She picks one thing, the Partner Role, and sees what it would do before anything happens.")?;
    let offer = json!({ "command": "offer_partner_role", "to": "agency:studio-north" });
    let digest = story.preview(MARIA.fresh(), "bakery", offer.clone())?;
    story.tell().say("An offer without a fresh sign-in, or without the preview of this state, is refused:")?;
    story.refused(MARIA, "bakery", with(&offer, "preview_digest", &digest), "403 stepup_required")?;
    story.refused(
        MARIA.fresh(),
        "bakery",
        with(&offer, "preview_digest", &json!("sha256:0")),
        "409 preview_changed",
    )?;
    let body = story.done(MARIA.fresh(), "bakery", with(&offer, "preview_digest", &digest), &["HandoverOffered"])?;
    let handover = text(&body, "/handover/id").to_owned();
    story.tell().say("Nothing has changed yet: only Studio North can answer, and Maria works on.")?;
    story.ask(MARIA, "PublishSite", "bakery", ALLOW)?;
    story.ask(DANA, "EditContent", "bakery", "role_lacks_action")?;
    story.ask(EVE, "AcceptHandover", "bakery", "no_role")?;
    story.tell().say("Dana reads what Studio North would take on:")?;
    let digest = story.explanation(DANA, &handover, "partner")?;
    let accept = json!({ "command": "accept_handover", "handover": handover, "explanation_digest": digest });
    story.refused(EVE.fresh(), "bakery", accept.clone(), "403 no_role")?;
    story.done(DANA.fresh(), "bakery", accept, &["HandoverAccepted", "SeatsChanged", "PlanHolderChanged"])?;
    Ok(())
}

fn after(story: &mut Story<'_>) -> Result<(), Stop> {
    story.tell().chapter("3. After")?;
    story.tell().say("Work and bill have moved, content and domain have not:")?;
    story.look(
        "bakery",
        &[
            ("client", "/seats/client", "user:maria"),
            ("partner", "/seats/partner", "agency:studio-north"),
            ("whose content", "/content_owner", "user:maria"),
            ("whose domain", "/domains/0/holder", "user:maria"),
            ("who pays", "/plan_holder", "agency:studio-north"),
        ],
    )?;
    story.tell().say("The partner gets its work done:")?;
    for action in ["EditContent", "PublishSite", "DuplicateSite", "UpgradePlan"] {
        story.ask(DANA, action, "bakery", ALLOW)?;
    }
    story.tell().say("and cannot take what is not its own, however lately Dana signed in:")?;
    for action in ["TransferDomain", "PurgeContent", "ManagePayouts"] {
        story.ask(DANA.fresh(), action, "bakery", "role_lacks_action")?;
    }
    story.tell().say("Some things it may do only with Maria's yes, or not in the first days:")?;
    story.ask(DANA, "RefundOrder", "bakery", "confirm_required")?;
    story.ask(DANA, "ExportContacts", "bakery", "settling_in")?;
    story.ask(DANA, "UnpublishSite", "bakery", ALLOW)?;
    story.tell().say("Maria works on, but does not spend the partner's money:")?;
    story.ask(MARIA, "EditContent", "bakery", ALLOW)?;
    story.ask(MARIA, "InviteContributor", "bakery", ALLOW)?;
    story.ask(MARIA, "UpgradePlan", "bakery", "role_lacks_action")?;
    story.tell().say("and she alone can end it, at any time:")?;
    story.ask(MARIA, "ReclaimSite", "bakery", "stepup_required")?;
    story.ask(MARIA.fresh(), "ReclaimSite", "bakery", ALLOW)?;
    story.ask(DANA.fresh(), "ReclaimSite", "bakery", "role_lacks_action")
}

fn taken_back_at_once(story: &mut Story<'_>) -> Result<(), Stop> {
    story.tell().chapter("4. Maria changes her mind in the first days")?;
    story.tell().say("Until the handover has settled, the site comes back at once:")?;
    let reclaim = json!({ "command": "reclaim_site" });
    story.done(MARIA.fresh(), "bakery", reclaim, &["SiteReturned", "SeatsChanged", "PlanHolderChanged"])?;
    back_with_maria(story)
}

/// The site is Maria's alone again.
fn back_with_maria(story: &mut Story<'_>) -> Result<(), Stop> {
    story.look(
        "bakery",
        &[
            ("mode", "/mode", "self_managed"),
            ("owner", "/seats/owner", "user:maria"),
            ("partner", "/seats/partner", "-"),
            ("who pays", "/plan_holder", "user:maria"),
        ],
    )?;
    story.tell().say("Studio North has nothing left on it:")?;
    for action in ["ViewSite", "EditContent", "UpgradePlan", "ViewInvoices"] {
        story.ask(DANA.fresh(), action, "bakery", "no_role")?;
    }
    story.ask(MARIA, "UpgradePlan", "bakery", ALLOW)
}

fn taken_back_with_notice(story: &mut Story<'_>) -> Result<(), Stop> {
    story.tell().chapter("5. A second try, and a notice that nobody answers")?;
    story.tell().say("They agree after all. Maria previews, offers, and Dana accepts, as before:")?;
    let offer = json!({ "command": "offer_partner_role", "to": "agency:studio-north" });
    let digest = story.quietly(|story| story.preview(MARIA.fresh(), "bakery", offer.clone()))?;
    let body = story.done(MARIA.fresh(), "bakery", with(&offer, "preview_digest", &digest), &["HandoverOffered"])?;
    let handover = text(&body, "/handover/id").to_owned();
    let digest = story.quietly(|story| story.explanation(DANA, &handover, "partner"))?;
    let accept = json!({ "command": "accept_handover", "handover": handover, "explanation_digest": digest });
    story.done(DANA.fresh(), "bakery", accept, &["HandoverAccepted", "SeatsChanged", "PlanHolderChanged"])?;

    story.tell().say(
        "\nEight days pass; the handover has settled. Then Maria asks for the site back and stops all work on it:",
    )?;
    story.pass(facts::SETTLED)?;
    story.ask(DANA, "ExportContacts", "bakery", ALLOW)?;
    let reclaim = json!({ "command": "reclaim_site", "lock": true });
    let body = story.done(MARIA.fresh(), "bakery", reclaim, &["ReclaimRequested", "PartnerLocked"])?;
    story.tell().note(&format!("back by itself on {}", text(&body, "/site/return_pending/effective_at")))?;
    story.ask(DANA, "EditContent", "bakery", "locked")?;
    story.ask(MARIA, "EditContent", "bakery", ALLOW)?;
    story.tell().say("They talk, and she takes the request back:")?;
    story.done(MARIA.fresh(), "bakery", json!({ "command": "withdraw_reclaim" }), &["ReclaimWithdrawn"])?;
    story.ask(DANA, "EditContent", "bakery", ALLOW)?;
    story.tell().say("It does not last. She asks again, this time without stopping the work:")?;
    let reclaim = json!({ "command": "reclaim_site" });
    story.done(MARIA.fresh(), "bakery", reclaim, &["ReclaimRequested"])?;
    story.ask(DANA, "EditContent", "bakery", ALLOW)?;
    story.ask(DANA, "DuplicateSite", "bakery", "return_pending")?;
    story.tell().say("Studio North could give it back now, and does not answer. Five days pass:")?;
    story.pass(facts::NOTICE)?;
    back_with_maria(story)
}

fn bonus(story: &mut Story<'_>) -> Result<(), Stop> {
    story.tell().chapter("6. The other way round: a site that Studio North built for Tom")?;
    story.tell().say(
        "Studio North built the florist's site from scratch and published it on a paid plan. Dana gives Tom the Client \
         Role; Studio North keeps the Partner Role and the bill.",
    )?;
    let now = story.now();
    story.register("/v1/sites/florist", &facts::florist(now))?;
    story.ask(TOM, "EditContent", "florist", "no_role")?;
    let offer = json!({ "command": "assign_client_role", "to": "user:tom" });
    let digest = story.preview(DANA.fresh(), "florist", offer.clone())?;
    let body = story.done(DANA.fresh(), "florist", with(&offer, "preview_digest", &digest), &["HandoverOffered"])?;
    let handover = text(&body, "/handover/id").to_owned();
    story.tell().say("Tom reads:")?;
    let digest = story.explanation(TOM, &handover, "client")?;
    let accept = json!({ "command": "accept_handover", "handover": handover, "explanation_digest": digest });
    story.done(TOM.fresh(), "florist", accept, &["HandoverAccepted", "TitleGranted", "SeatsChanged"])?;
    story.tell().say("Content and domain are Tom's now; he pays nothing:")?;
    story.look(
        "florist",
        &[
            ("whose content", "/content_owner", "user:tom"),
            ("whose domain", "/domains/0/holder", "user:tom"),
            ("client", "/seats/client", "user:tom"),
            ("partner", "/seats/partner", "agency:studio-north"),
            ("who pays", "/plan_holder", "agency:studio-north"),
        ],
    )?;
    story.ask(TOM, "EditContent", "florist", ALLOW)?;
    story.ask(TOM.fresh(), "ReclaimSite", "florist", ALLOW)?;
    story.ask(TOM, "UpgradePlan", "florist", "role_lacks_action")?;
    story.ask(DANA, "UpgradePlan", "florist", ALLOW)?;
    story.ask(DANA.fresh(), "TransferDomain", "florist", "role_lacks_action")
}

/// The command with one more field.
fn with(command: &Value, field: &str, value: &Value) -> Value {
    let mut command = command.clone();
    if let Some(command) = command.as_object_mut() {
        command.insert(field.to_owned(), value.clone());
    }
    command
}
