//! Cases 30 and 31: whoever does not say who they are, or says it wrongly, is told so before anything that they send is
//! read, and is told nothing else.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::{
    cases::{Outcome, thrice},
    client::{Answer, Call, Caller},
    judge::well_formed,
    pdp::{CERT, Discovered, KEY, NAME, OTHER, Pdp, Variant, basic, metadata_url},
    server::Installation,
};

/// A question that is allowed.
fn question(at: &Discovered) -> Call {
    let question = json!({"subject": {"type": "user", "id": "alice"}, "action": {"name": "read"},
        "resource": {"type": "record", "id": "record-1"}});
    Call::post(at.url("evaluation"), &question)
}

/// What a caller may say of itself, and nobody may.
struct Said {
    right: Vec<String>,
    wrong: Vec<String>,
}

fn said(variant: Variant) -> Said {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let encoded = |text: &str| format!("Basic {}", STANDARD.encode(text));
    let longer = format!("{KEY}x");
    let shorter = &KEY[..KEY.len() - 1];
    match variant {
        // Some clients send this when they have been given no key.
        Variant::Open => Said { right: texts(&["undefined", "Bearer nothing", "Basic Og=="]), wrong: Vec::new() },
        Variant::Basic => {
            let right = basic(NAME, KEY);
            Said {
                right: vec![right.replace("Basic", "basic"), basic(OTHER.0, OTHER.1), right.clone()],
                wrong: [
                    basic(NAME, OTHER.1),
                    basic(NAME, &longer),
                    basic(NAME, shorter),
                    basic(NAME, ""),
                    basic("nobody", KEY),
                    basic("Suite", KEY),
                    basic("", KEY),
                    encoded(NAME),
                    encoded(""),
                    format!("Bearer {KEY}"),
                    right.replace("Basic ", ""),
                ]
                .into_iter()
                .chain(texts(&["Basic", "Basic !", "Basic Og==", "undefined"]))
                .collect(),
            }
        }
        Variant::ApiKey => Said {
            right: vec![format!("bearer {KEY}"), format!("Bearer {}", OTHER.1), format!("Bearer {KEY}")],
            wrong: [
                format!("Bearer {longer}"),
                format!("Bearer {shorter}"),
                format!("Bearer {NAME}={KEY}"),
                format!("Bearer {NAME}"),
                format!("Bearer {KEY} {KEY}"),
                KEY.to_owned(),
                basic(NAME, KEY),
            ]
            .into_iter()
            .chain(texts(&["Bearer", "Bearer undefined", "undefined"]))
            .collect(),
        },
        Variant::Mtls => Said { right: Vec::new(), wrong: texts(&["Bearer nothing", "Basic Og=="]) },
    }
}

/// Every check of this kind of caller.
pub fn ask(outcome: &mut Outcome, pdp: &Pdp, at: &Discovered) {
    let said = said(pdp.variant);
    let mut anonymous = pdp.anonymous();
    if pdp.variant == Variant::Open {
        outcome.note(30, "nobody has to say who they are", allowed(&mut anonymous, &question(at)));
    } else {
        refused_everywhere(outcome, pdp, at, &mut anonymous);
    }
    for authorization in &said.wrong {
        let found = refused(pdp.variant, &mut anonymous, &question(at).header("authorization", authorization.as_str()));
        outcome.note(31, &format!("`Authorization: {authorization}`"), found);
    }
    for authorization in &said.right {
        let found = allowed(&mut anonymous, &question(at).header("authorization", authorization.as_str()));
        outcome.note(31, &format!("the control: `Authorization: {authorization}`"), found);
    }
    if pdp.variant == Variant::Mtls {
        // A certificate of somebody else's ends the handshake: there is no answer at all.
        for name in ["stranger", "server"] {
            let found = match pdp.with_certificate(name).try_call(&question(at)) {
                Err(_) => Ok(()),
                Ok(answer) => Err(format!("an answer: {answer}")),
            };
            outcome.note(31, &format!("the certificate {name}.pem"), found);
        }
    }
    outcome.note(31, "the control: who may ask", allowed(&mut pdp.caller(), &question(at)));
}

/// Case 30, on every endpoint and whatever is sent.
fn refused_everywhere(outcome: &mut Outcome, pdp: &Pdp, at: &Discovered, anonymous: &mut Caller) {
    let refused = |anonymous: &mut Caller, call: &Call| refused(pdp.variant, anonymous, call);
    for (name, url) in at.urls() {
        let call = Call::new("POST", url).header("content-type", "application/json");
        outcome.note(30, &format!("{name}: an empty object"), refused(anonymous, &call.clone().body("{}")));
        outcome.note(30, &format!("{name}: no JSON"), refused(anonymous, &call.clone().body("{\"subject\":")));
        let text = Call::new("POST", url).header("content-type", "text/plain").body("hello");
        outcome.note(30, &format!("{name}: another media type"), refused(anonymous, &text));
        // Nothing of the body ever comes, and the answer does.
        for bytes in [1, 10_000_000] {
            let found = refused(anonymous, &call.clone().promising(bytes));
            outcome.note(30, &format!("{name}: before a body of {bytes} bytes"), found);
        }
    }
    for path in ["/access/v1/evaluation", "/access/v1/search/subject", "/v1/sites/bakery/transitions"] {
        let call = Call::post(&format!("{}{path}", pdp.url), &json!({}));
        outcome.note(30, &format!("beside the domains: {path}"), refused(anonymous, &call));
    }
    let metadata = thrice(anonymous, &Call::new("GET", &metadata_url(&pdp.url)));
    let found = metadata.and_then(|answer| if answer.status == 200 { Ok(()) } else { Err(answer.to_string()) });
    outcome.note(30, "the control: metadata is for everybody", found);
}

fn allowed(caller: &mut Caller, call: &Call) -> Result<(), String> {
    let answer = thrice(caller, call)?;
    let right = (answer.status, answer.text().as_str()) == (200, r#"{"decision":true}"#);
    if right { Ok(()) } else { Err(format!("not allowed: {answer}")) }
}

fn refused(variant: Variant, caller: &mut Caller, call: &Call) -> Result<(), String> {
    let answer = thrice(caller, call)?;
    unauthenticated(variant, &answer).map_err(|why| format!("{why}: {answer} {:?}", answer.headers))
}

fn unauthenticated(variant: Variant, answer: &Answer) -> Result<(), String> {
    if answer.status != 401 {
        return Err("the status is not 401".into());
    }
    well_formed(answer)?;
    if answer.json()["code"] != "unauthenticated" {
        return Err("the code is not `unauthenticated`".into());
    }
    let challenge = match variant {
        Variant::Basic => Some(r#"Basic realm="mandate", charset="UTF-8""#),
        Variant::ApiKey => Some(r#"Bearer realm="mandate""#),
        // No scheme is registered for what TLS asks for; a 401 has to name one all the same (RFC 9110 §11.6.1).
        Variant::Open | Variant::Mtls => answer.header("www-authenticate"),
    };
    let said = answer.header("www-authenticate");
    if said.is_some() && said == challenge { Ok(()) } else { Err(format!("`WWW-Authenticate` is {said:?}")) }
}

/// The control: a service that asks nobody fails whatever is expected of one that does.
#[test]
fn who_lets_everybody_in_is_noticed() {
    // It would wait for the bodies that never come.
    let impatient = [("MANDATE_LIMITS__BODY_TIMEOUT", "50ms")];
    let mut pdp = Pdp::start_with(Variant::Open, Installation::new(), &impatient);
    let at = Discovered::of(&pdp, &pdp.identifier(CERT));
    for variant in [Variant::Basic, Variant::ApiKey] {
        pdp.variant = variant;
        let said = said(variant);
        let mut outcome = Outcome::default();
        ask(&mut outcome, &pdp, &at);
        let failed = |case| outcome.failed.iter().filter(|(failed, _)| *failed == case).count();
        assert_eq!((failed(30), failed(31)), (5 * 5 + 3, said.wrong.len()), "{:#?}", outcome.failed);
    }
}
