//! What was answered? Read by hand and strictly: what is not plainly an allow or a deny is an error.
//!
//! Derived readers lost here as in the server: they take the array `[true]` for an object with a decision in it.

use serde_json::{Map, Value};

use super::{
    error::{Error, Problem},
    question::Semantic,
    transport::Reply,
};

/// Where and by what an answer was found; from the answer's headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The revision that the answer is true at.
    pub revision: Option<u64>,
    /// The same with the history that it is of: what to keep for
    /// [`Client::at_least_as_fresh`](super::Client::at_least_as_fresh).
    pub token: Option<String>,
    /// What the decision is called in the server's records.
    pub decision_id: Option<String>,
    /// Which policies decided.
    pub policy_fingerprint: Option<String>,
    /// What the server's log calls the request.
    pub request_id: Option<String>,
}

impl Stamp {
    pub(super) fn of(reply: &Reply) -> Self {
        let text = |name: &str| reply.header(name).map(str::to_owned);
        Self {
            revision: reply.header("revision").and_then(|text| text.parse().ok()),
            token: text("revision-token"),
            decision_id: text("decision-id"),
            policy_fingerprint: text("policy-fingerprint"),
            request_id: text("x-request-id"),
        }
    }
}

/// Something that the caller has to do when it acts on an allow: tell the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obligation {
    /// Who has to be told: `client` or `partner`.
    pub notify: String,
    /// Of which action.
    pub action: String,
}

/// Why a decision came out as it did; only where [`Question::explained`](super::Question::explained) asked for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The code of a deny's reason, such as `role_lacks_action`; none for an allow.
    pub reason: Option<String>,
    /// How access is had, such as `seat`.
    pub via: Option<String>,
    /// The policies that determined it, each with what it says in one sentence.
    pub policies: Vec<(String, String)>,
    /// What would have made the difference.
    pub missing: Vec<String>,
    /// Until when (RFC 3339), where waiting is enough.
    pub until: Option<String>,
    /// What can be done about a deny, and by whom, in words for people.
    pub remedy: Option<String>,
}

/// An answer: allow or deny. Both are answers; what is neither is an [`Error`].
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a decision that is not looked at decides nothing"]
pub struct Decision {
    allowed: bool,
    obligations: Vec<Obligation>,
    explanation: Option<Explanation>,
    context: Map<String, Value>,
    stamp: Stamp,
}

impl Decision {
    /// Whether it is an allow.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.allowed
    }
    /// What has to be done along with an allow.
    #[must_use]
    pub fn obligations(&self) -> &[Obligation] {
        &self.obligations
    }
    /// Why; none where nobody asked.
    #[must_use]
    pub const fn explanation(&self) -> Option<&Explanation> {
        self.explanation.as_ref()
    }
    /// Everything that was said beside the decision, as it came.
    #[must_use]
    pub const fn context(&self) -> &Map<String, Value> {
        &self.context
    }
    /// Where and by what it was found.
    #[must_use]
    pub const fn stamp(&self) -> &Stamp {
        &self.stamp
    }
    /// The revision that it is true at.
    #[must_use]
    pub const fn revision(&self) -> Option<u64> {
        self.stamp.revision
    }

    pub(super) fn read(body: &Value, stamp: &Stamp) -> Result<Self, Error> {
        let Some(allowed) = body.get("decision").and_then(Value::as_bool) else {
            return Err(Error::NotAnAnswer("there is no `decision` that is true or false".to_owned()));
        };
        let context = match body.get("context") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(context)) => context.clone(),
            Some(_) => return Err(Error::NotAnAnswer("its `context` is not an object".to_owned())),
        };
        Ok(Self {
            allowed,
            obligations: obligations(&context)?,
            explanation: explanation(&context),
            context,
            stamp: stamp.clone(),
        })
    }
}

/// An allow whose obligations cannot be read is none: nobody would carry them out.
fn obligations(context: &Map<String, Value>) -> Result<Vec<Obligation>, Error> {
    let Some(listed) = context.get("obligations") else { return Ok(Vec::new()) };
    let one = |one: &Value| {
        let text = |name: &str| one.get(name)?.as_str().map(str::to_owned);
        Some(Obligation { notify: text("notify")?, action: text("action")? })
    };
    let read = listed.as_array().and_then(|listed| listed.iter().map(one).collect());
    read.ok_or_else(|| Error::NotAnAnswer("its obligations cannot be read".to_owned()))
}

fn explanation(context: &Map<String, Value>) -> Option<Explanation> {
    let text = |name: &str| context.get(name).and_then(Value::as_str).map(str::to_owned);
    let texts = |name: &str| {
        let listed = context.get(name).and_then(Value::as_array).into_iter().flatten();
        listed.filter_map(Value::as_str).map(str::to_owned)
    };
    let doc = |id: &str| context.get("docs").and_then(|docs| docs.get(id)?.as_str()).unwrap_or_default().to_owned();
    let explained = context.contains_key("policies") || context.contains_key("reason");
    explained.then(|| Explanation {
        reason: text("reason"),
        via: text("via"),
        policies: texts("policies").map(|id| (id.clone(), doc(&id))).collect(),
        missing: texts("missing").collect(),
        until: text("until"),
        remedy: text("remedy"),
    })
}

/// The answers to a batch, in the order of its questions.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a decision that is not looked at decides nothing"]
pub struct Answers {
    each: Vec<Result<Decision, Error>>,
    stamp: Stamp,
}

impl Answers {
    /// Each answer, or why that question has none. Fewer than there were questions where the semantic ended the batch.
    pub fn each(&self) -> &[Result<Decision, Error>] {
        &self.each
    }
    /// Whether the question at this place was answered with an allow. What was not asked any more was not.
    #[must_use]
    pub fn is_allowed(&self, place: usize) -> bool {
        matches!(self.each.get(place), Some(Ok(decision)) if decision.is_allowed())
    }
    /// Where and by what they were found, all of them.
    #[must_use]
    pub const fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    pub(super) fn read(body: &Value, stamp: Stamp, asked: usize, semantic: Semantic) -> Result<Self, Error> {
        let Some(items) = body.get("evaluations").and_then(Value::as_array) else {
            return Err(Error::NotAnAnswer("there is no list of `evaluations`".to_owned()));
        };
        let mut each = Vec::with_capacity(items.len());
        let mut ended = false;
        for item in items {
            let decision = Decision::read(item, &stamp)?;
            ended = semantic.ends(decision.allowed);
            each.push(refusal(&decision).map_or(Ok(decision), Err));
        }
        if each.len() != asked && !(ended && each.len() < asked) {
            let found = each.len();
            return Err(Error::NotAnAnswer(format!("{found} answers to {asked} questions, and the last is no end")));
        }
        Ok(Self { each, stamp })
    }
}

/// An item that was no question is told as a deny with an error in it; to a caller it is an error.
fn refusal(decision: &Decision) -> Option<Error> {
    let error = decision.context.get("error")?;
    let status = error.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let detail = error.get("message").and_then(Value::as_str).unwrap_or("no reason was given").to_owned();
    let request_id = decision.stamp.request_id.clone();
    Some(Error::of_problem(Problem { status: status.unwrap_or(500), code: None, detail, request_id }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        Semantic::{DenyOnFirstDeny, ExecuteAll, PermitOnFirstPermit},
        *,
    };

    fn one(body: &Value) -> Result<Decision, Error> {
        Decision::read(body, &Stamp::default())
    }

    #[test]
    fn only_true_is_an_allow_and_only_false_a_deny() {
        assert!(one(&json!({"decision": true})).unwrap().is_allowed());
        assert!(!one(&json!({"decision": false, "context": null, "more": 1})).unwrap().is_allowed());
        for wrong in [
            json!(null),
            json!(true),
            json!([true]),
            json!({}),
            json!({"decision": null}),
            json!({"decision": 1}),
            json!({"decision": "true"}),
            json!({"decision": [true]}),
            json!({"Decision": true}),
            json!({"decision": true, "context": []}),
            json!({"decision": true, "context": {"obligations": null}}),
            json!({"decision": true, "context": {"obligations": [{"notify": "client"}]}}),
            json!({"decision": true, "context": {"obligations": [["client", "ExportContacts"]]}}),
        ] {
            assert!(matches!(one(&wrong), Err(Error::NotAnAnswer(_))), "{wrong}");
        }
    }

    #[test]
    fn what_is_beside_a_decision() {
        let told = one(&json!({"decision": true, "context": {"obligations": [{"notify": "client", "action": "A"}]}}));
        let told = told.unwrap();
        assert_eq!(told.obligations(), [Obligation { notify: "client".into(), action: "A".into() }]);
        assert_eq!(told.explanation(), None);
        let context = json!({"reason": "no_role", "policies": ["a"], "docs": {"a": "Says so."}, "missing": ["role:Owner"],
            "remedy": "Ask."});
        let told = one(&json!({"decision": false, "context": context})).unwrap();
        let explanation = told.explanation().unwrap();
        assert_eq!(explanation.reason.as_deref(), Some("no_role"));
        assert_eq!(explanation.policies, [("a".to_owned(), "Says so.".to_owned())]);
        assert_eq!(
            (explanation.missing.as_slice(), explanation.remedy.as_deref()),
            (&["role:Owner".into()][..], Some("Ask."))
        );
    }

    #[test]
    fn a_batch_is_whole_or_ends_where_its_semantic_says() {
        let (yes, no) = (json!({"decision": true}), json!({"decision": false}));
        let read = |items: &[&Value], asked, semantic| {
            Answers::read(&json!({ "evaluations": items }), Stamp::default(), asked, semantic)
        };
        for (items, asked, semantic) in [
            (&[&yes, &no][..], 2, ExecuteAll),
            (&[&yes, &no], 3, DenyOnFirstDeny),
            (&[&yes, &yes], 2, DenyOnFirstDeny),
            (&[&no, &yes], 5, PermitOnFirstPermit),
        ] {
            assert_eq!(read(items, asked, semantic).unwrap().each().len(), items.len());
        }
        for (items, asked, semantic) in [
            (&[&yes][..], 2, ExecuteAll),
            (&[&yes, &yes], 1, ExecuteAll),
            (&[], 1, DenyOnFirstDeny),
            (&[&yes], 2, DenyOnFirstDeny),
            (&[&no], 2, PermitOnFirstPermit),
            (&[&no, &no], 1, DenyOnFirstDeny),
        ] {
            assert!(matches!(read(items, asked, semantic), Err(Error::NotAnAnswer(_))), "{items:?} {asked}");
        }
        assert!(matches!(Answers::read(&yes, Stamp::default(), 1, ExecuteAll), Err(Error::NotAnAnswer(_))));
    }

    #[test]
    fn an_item_that_was_no_question_is_an_error_in_its_place() {
        let wrong =
            json!({"decision": false, "context": {"error": {"status": 400, "message": "`resource.id` is missing"}}});
        let body = json!({"evaluations": [{"decision": true}, wrong]});
        let answers = Answers::read(&body, Stamp::default(), 2, Semantic::ExecuteAll).unwrap();
        assert!(answers.is_allowed(0) && !answers.is_allowed(1) && !answers.is_allowed(2));
        let error = answers.each().get(1).unwrap().as_ref().unwrap_err();
        assert!(matches!(error, Error::Refused(problem) if problem.detail == "`resource.id` is missing"), "{error}");
    }
}
