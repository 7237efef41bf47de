//! Cases 83 to 89: the metadata, and its signed copy, checked with a key that was handed over beside it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::{Value, json};

use crate::{
    cases::{Outcome, thrice},
    certificates::openssl,
    client::{Answer, Call},
    http::now_s,
    judge::Expected,
    pdp::{CERT, DOMAINS, Pdp, Variant, metadata_url},
    server::Installation,
};

/// With these the metadata is signed.
pub const SETTINGS: [(&str, &str); 1] = [("MANDATE_METADATA_KEY", "metadata.key")];

/// What a metadata document has to be like: case, the scenario's name, in words, and how it is found out.
const CASES: [(u32, &str, Check); 6] = [
    (83, "c-6-2: 200 and JSON, for everybody, for five minutes", |_, _, answer| {
        let kept = answer.header("cache-control") == Some("public, max-age=300");
        let json = answer.header("content-type") == Some("application/json");
        ensure(answer.status == 200 && json && kept, "status, media type or Cache-Control")
    }),
    (84, "the required members, and everything that is offered", |_, _, answer| {
        let members = [
            "policy_decision_point",
            "access_evaluation_endpoint",
            "access_evaluations_endpoint",
            "search_subject_endpoint",
            "search_resource_endpoint",
            "search_action_endpoint",
        ];
        ensure(members.iter().all(|name| answer.json()[name].is_string()), "a member is missing")?;
        let members = answer.json().as_object().cloned().unwrap_or_default();
        let empty = [json!(null), json!(""), json!([]), json!({})];
        ensure(members.values().all(|value| !empty.contains(value)), "a member without a value")
    }),
    (85, "the identifier is the one that was asked for, to the byte", |_, identifier, answer| {
        ensure(answer.json()["policy_decision_point"] == identifier, "another identifier")
    }),
    (86, "all URLs are https, below the identifier, and name the version", |_, identifier, answer| {
        let below = format!("{identifier}/");
        for (name, value) in answer.json().as_object().into_iter().flatten() {
            let Some(url) = value.as_str().filter(|_| name.ends_with("_endpoint")) else { continue };
            let plain = url.starts_with("https://") && !url.contains(['?', '#']);
            ensure(plain && url.starts_with(&below) && url.contains("/v1/"), &format!("{name}: {url}"))?;
        }
        ensure(identifier.starts_with("https://") && !identifier.contains(['?', '#']), "the identifier")
    }),
    (87, "capabilities, where there are any, are texts", |_, _, answer| match answer.json().get("capabilities") {
        None => Ok(()),
        Some(said) => ensure(said.as_array().is_some_and(|said| said.iter().all(Value::is_string)), "capabilities"),
    }),
    (88, "signed_metadata: verifiable, by the identifier, and the same", |pdp, identifier, answer| {
        signed(pdp, identifier, &answer.json())
    }),
];

type Check = fn(&Pdp, &str, &Answer) -> Result<(), String>;

fn ensure(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("not right: {what}")) }
}

/// An installation with a key to sign with: of either kind, for half of the ways in which callers say who they are.
pub fn with_key(variant: Variant) -> Installation {
    let installation = Installation::new();
    let algorithm: &[&str] = match variant {
        Variant::Open | Variant::ApiKey => &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        Variant::Basic | Variant::Mtls => &["ED25519"],
    };
    openssl(installation.folder(), &[&["genpkey", "-out", "metadata.key", "-algorithm"], algorithm].concat());
    installation
}

/// Every check, of the fixture's metadata, of the other domains' and of the service's own.
pub fn ask(outcome: &mut Outcome, pdp: &Pdp) {
    let mut anyone = pdp.anonymous();
    let identifiers = DOMAINS.iter().map(|domain| pdp.identifier(domain)).chain([pdp.url.clone()]);
    for identifier in identifiers {
        let call = Call::new("GET", &metadata_url(&identifier)).header("x-request-id", "mine");
        let answer = anyone.call(&call);
        for (case, what, check) in CASES {
            let found = check(pdp, &identifier, &answer).map_err(|why| format!("{why}: {answer}"));
            outcome.note(case, &format!("{what}; {identifier}"), found);
        }
        outcome.note(83, "X-Request-ID comes back", ensure(answer.header("x-request-id") == Some("mine"), "the id"));
    }
    for name in ["nobody", "authzen", "authzen-cert/access", "AUTHZEN-CERT", "sites"] {
        let found = thrice(&mut anyone, &Call::new("GET", &metadata_url(&pdp.identifier(name))));
        let found = found.and_then(|answer| Expected::Refused(404).judge(&answer));
        outcome.note(89, &format!("nobody is called {name}"), found);
    }
    undiscovered(outcome, pdp.variant);
}

/// Case 88 of one that has no key: nothing is signed, and nothing is there in its place.
pub fn ask_unsigned(outcome: &mut Outcome, pdp: &Pdp) {
    let answer = pdp.anonymous().call(&Call::new("GET", &metadata_url(&pdp.identifier(CERT))));
    let absent = answer.json().as_object().is_some_and(|members| !members.contains_key("signed_metadata"));
    outcome.note(88, "without a key", ensure(answer.status == 200 && absent, &answer.to_string()));
}

/// Case 89: who has not been told its name has no metadata, and serves the usual paths all the same.
fn undiscovered(outcome: &mut Outcome, variant: Variant) {
    let pdp = Pdp::unnamed(variant);
    let answer = pdp.anonymous().call(&Call::new("GET", &metadata_url(&pdp.identifier(CERT))));
    outcome.note(89, "no public_url, no metadata", ensure(answer.status == 404, &answer.to_string()));
    let body = json!({"subject": {"type": "user", "id": "alice"}, "action": {"name": "read"},
        "resource": {"type": "record", "id": "record-1"}});
    let answer = pdp.caller().call(&Call::post(&format!("{}/access/v1/evaluation", pdp.identifier(CERT)), &body));
    let allowed = answer.status == 200 && answer.text() == r#"{"decision":true}"#;
    outcome.note(89, "the usual path", ensure(allowed, &answer.to_string()));
}

/// Case 88.
fn signed(pdp: &Pdp, identifier: &str, document: &Value) -> Result<(), String> {
    let jws = document["signed_metadata"].as_str().ok_or("there is no `signed_metadata`")?;
    let [head, claims, signature] = jws.split('.').collect::<Vec<_>>()[..] else {
        return Err("not three parts".into());
    };
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|error| format!("{part}: {error}"));
    let json = |part: &str| {
        decoded(part).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).map_err(|error| error.to_string()))
    };
    let (alg, key) = public_key(pdp);
    let said = json(head)?;
    ensure(said["alg"] == alg.0, &format!("the head {said}"))?;
    let message = &jws[..head.len() + 1 + claims.len()];
    let verifies = |message: &str, signature: &[u8]| {
        UnparsedPublicKey::new(alg.1, &key).verify(message.as_bytes(), signature).is_ok()
    };
    let mut signature = decoded(signature)?;
    ensure(verifies(message, &signature), "the signature")?;
    signature[7] ^= 1;
    ensure(!verifies(message, &signature), "the control: another signature is none")?;
    let claims = json(claims)?;
    let mut plain = document.as_object().cloned().unwrap_or_default();
    plain.swap_remove("signed_metadata");
    for (name, value) in &plain {
        ensure(&claims[name] == value, &format!("the claim `{name}` of {claims}"))?;
    }
    ensure(claims["iss"] == identifier, &format!("iss of {claims}"))?;
    ensure(claims.get("signed_metadata").is_none(), "a signed copy of the signed copy")?;
    let now = now_s();
    let time = |name: &str| claims.get(name).map(|time| time.as_i64().unwrap_or(i64::MIN));
    ensure(time("iat").is_none_or(|iat| (now - 300..=now + 5).contains(&iat)), &format!("iat of {claims}"))?;
    ensure(time("exp").is_none_or(|exp| exp > now), &format!("exp of {claims}"))?;
    ensure(time("nbf").is_none_or(|nbf| (0..=now + 5).contains(&nbf)), &format!("nbf of {claims}"))
}

type Algorithm = (&'static str, &'static dyn VerificationAlgorithm);

/// The public half of the key that was configured, and what it verifies.
fn public_key(pdp: &Pdp) -> (Algorithm, Vec<u8>) {
    let words = ["pkey", "-in", "metadata.key", "-pubout", "-outform", "DER"];
    let info = openssl(pdp.installation.folder(), &words);
    // The key stands at the end of what describes it: a point of 65 bytes, or 32 bytes.
    let last = |bytes: usize| info[info.len() - bytes..].to_vec();
    match pdp.variant {
        Variant::Open | Variant::ApiKey => (("ES256", &ECDSA_P256_SHA256_FIXED), last(65)),
        Variant::Basic | Variant::Mtls => (("EdDSA", &ED25519), last(32)),
    }
}

/// The control: each check notices what it is there for.
#[test]
fn every_check_of_the_metadata_can_fail() {
    let pdp = Pdp::start_with(Variant::Open, with_key(Variant::Open), &SETTINGS);
    let identifier = pdp.identifier(CERT);
    let answer = pdp.anonymous().call(&Call::new("GET", &metadata_url(&identifier)));
    let failing = |answer: &Answer| -> Vec<u32> {
        let failed = CASES.into_iter().filter(|(_, _, check)| check(&pdp, &identifier, answer).is_err());
        failed.map(|(case, ..)| case).collect()
    };
    assert!(failing(&answer).is_empty(), "{answer}");
    let evaluation = "access_evaluation_endpoint";
    for (member, value, cases) in [
        ("policy_decision_point", json!(format!("{identifier}/")), vec![85, 88]),
        ("policy_decision_point", json!(identifier.to_uppercase()), vec![85, 88]),
        (evaluation, json!(null), vec![84, 88]),
        (evaluation, json!(format!("{identifier}/access/evaluation")), vec![86, 88]),
        (evaluation, json!(format!("{identifier}/access/v1/evaluation?x")), vec![86, 88]),
        (evaluation, json!(format!("{identifier}/access/v1/evaluation").replace("https", "http")), vec![86, 88]),
        ("capabilities", json!([]), vec![84, 88]),
        ("capabilities", json!([7]), vec![87, 88]),
        ("signed_metadata", json!("e30.e30."), vec![88]),
        ("signed_metadata", json!(format!("{}A", answer.json()["signed_metadata"].as_str().unwrap())), vec![88]),
    ] {
        let mut document = answer.json();
        document[member] = value.clone();
        let other = Answer { body: document.to_string().into(), ..answer.clone() };
        assert_eq!(failing(&other), cases, "{member}: {value}");
    }
    let other = Answer { status: 404, ..answer.clone() };
    assert_eq!(failing(&other), [83]);
}
