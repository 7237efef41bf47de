//! `POST /access/v1/search/…`: who may, where, and what? The AuthZEN *Authorization API 1.0*'s searches.
//!
//! A page ends with a token that says where the next one begins. It carries which search it is of, its limit and the
//! revision it was written at, and it is authenticated with a secret of the database: no process keeps anything between
//! two pages, and any process continues what another one began, at that revision or later. It is not secret: it names the
//! last candidate that was looked at.

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use smol_str::SmolStr;

use super::{Service, evaluation, reply};
use crate::{
    app::{Found, Kind, Span},
    config::Limits,
    http::{
        authzen::{Open, SearchRequest, Sought},
        json,
        problem::Problem,
    },
    ids::{Principal, SiteId},
    revision::RevisionToken,
};

/// How much of the authentication of a token is sent.
const MAC: usize = 16;
/// How much of a search's hash is in its tokens, in digits.
const NAMED: usize = 32;

/// What was found. `page` comes first, as the standard asks.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SearchBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<PageBody>,
    results: Vec<Hit>,
}

/// Where it goes on.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct PageBody {
    /// To be sent as `page.token` for what follows; empty when nothing does.
    next_token: String,
    /// How many results are here.
    count: usize,
    /// How many there are on all pages, where that is known: where one page is all, and of actions on sites.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<usize>,
}

/// One result: an entity, or an action.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub(super) enum Hit {
    /// An entity.
    Entity {
        #[serde(rename = "type")]
        kind: String,
        id: String,
    },
    /// An action.
    Action { name: String },
}

/// A question with one entity left open, for the OpenAPI document; reading is `http::authzen`'s.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read by hand")]
struct SearchQuestion {
    #[schema(example = json!({"type": "user"}))]
    subject: Option<Value>,
    #[schema(example = json!({"name": "PublishSite"}))]
    action: Option<Value>,
    #[schema(example = json!({"type": "site", "id": "bakery"}))]
    resource: Option<Value>,
    context: Option<Value>,
    /// `token` and `limit`.
    page: Option<Value>,
}

/// Where a page ended.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    /// Which search.
    s: String,
    /// After which candidate.
    a: String,
    /// The limit that the first request asked for.
    l: Option<u64>,
    /// Where the page stood: of sites the revision as a token, which says of which history it is, too.
    r: String,
}

/// Who may do this on this resource?
#[utoipa::path(post, path = "/access/v1/search/subject", tag = "decisions", request_body = SearchQuestion, responses(
    (status = 200, body = SearchBody), (status = 400, description = "Not a search of the standard, or a token of another one."),
    (status = 503, description = "No answer now."),
))]
pub(super) async fn subject(State(service): State<Service>, request: Request) -> Result<Response, Problem> {
    search(&service, request, Open::Subject).await
}

/// On which resources may this subject do this?
#[utoipa::path(post, path = "/access/v1/search/resource", tag = "decisions", request_body = SearchQuestion, responses(
    (status = 200, body = SearchBody), (status = 400, description = "Not a search of the standard, or a token of another one."),
    (status = 503, description = "No answer now."),
))]
pub(super) async fn resource(State(service): State<Service>, request: Request) -> Result<Response, Problem> {
    search(&service, request, Open::Resource).await
}

/// What may this subject do on this resource?
#[utoipa::path(post, path = "/access/v1/search/action", tag = "decisions", request_body = SearchQuestion, responses(
    (status = 200, body = SearchBody), (status = 400, description = "Not a search of the standard."),
    (status = 503, description = "No answer now."),
))]
pub(super) async fn action(State(service): State<Service>, request: Request) -> Result<Response, Problem> {
    search(&service, request, Open::Action).await
}

async fn search(service: &Service, request: Request, open: Open) -> Result<Response, Problem> {
    evaluation::fresh_enough(service, request.headers()).await?;
    let body = json::body(request, service.limits().body).await?;
    let request = SearchRequest::from_json(json::parse(&body)?, open)?;
    let (pages, stood) = Pages::read(service, &request, "").await?;
    reached(service, stood.as_deref()).await?;
    let app = service.app();
    let asked = evaluation::asked(&request.context);
    let principal = request.subject.as_ref().and_then(|subject| evaluation::principal(&subject.kind, &subject.id));
    let site = request.resource.as_ref().and_then(|resource| evaluation::site(&resource.kind, &resource.id));
    let name = request.action.as_ref().map_or("", |action| &*action.name);
    match &request.sought {
        Sought::Action => {
            let found = app.actions(principal.as_ref(), site.as_ref(), &asked, &pages.span).await?;
            answer(pages, service, found, |name| Hit::Action { name: name.into() })
        }
        Sought::Subject(kind) => {
            let found = app.subjects(kind, name, site.as_ref(), &asked, &pages.span).await?;
            let entity = |one: Principal| Hit::Entity { kind: one.kind().to_owned(), id: one.id().to_owned() };
            answer(pages, service, found, entity)
        }
        Sought::Resource(kind) => {
            let principal = principal.as_ref().filter(|_| kind == "site");
            let found = app.resources(principal, name, &asked, &pages.span).await?;
            let entity = |site: SiteId| Hit::Entity { kind: "site".to_owned(), id: site.as_str().to_owned() };
            answer(pages, service, found, entity)
        }
    }
}

/// Waits until the revision of the page before has been reached here.
async fn reached(service: &Service, stood: Option<&str>) -> Result<(), Problem> {
    let Some(Ok(revision)) = stood.map(str::parse::<RevisionToken>) else { return Ok(()) };
    service.app().at_least_as_fresh(&revision).await.map_err(|failure| match failure.kind {
        Kind::Conflict => bad("`page.token` is of a history that is over, as after a restore: begin anew without one"),
        _ => failure.into(),
    })
}

fn answer<T>(
    pages: Pages,
    service: &Service,
    found: Found<T>,
    each: impl FnMut(T) -> Hit,
) -> Result<Response, Problem> {
    let Found { results, next, total, revision, token, policies } = found;
    let response = pages.answer(results.into_iter().map(each).collect(), next, total, &token)?;
    Ok(evaluation::stamped(response, service, Some((revision, &token, &policies))))
}

/// Which page of which search.
pub(super) struct Pages {
    pub span: Span,
    search: String,
    limit: Option<u64>,
    /// No results are wanted.
    none: bool,
    /// Whether the caller spoke of pages.
    wanted: bool,
    secret: SmolStr,
}

impl Pages {
    /// Reads what a request says of pages, and where the page before stood. `place` tells the searches of one policy domain
    /// from those of another.
    pub(super) async fn read(
        service: &Service,
        request: &SearchRequest<'_>,
        place: &str,
    ) -> Result<(Self, Option<String>), Problem> {
        let limits = service.limits();
        let canonical = serde_json_canonicalizer::to_vec(&(place, request.identity())).map_err(|error| {
            tracing::error!(%error, "a search cannot be named");
            Problem::internal()
        })?;
        let mut search = crate::digest::hex(&Sha256::digest(canonical));
        search.truncate(NAMED);
        let secret = service.app().page_secret().await?;
        let page = request.page.clone().unwrap_or_default();
        let (mut after, mut limit, mut stood) = (None, page.limit, None);
        if let Some(text) = &page.token {
            let token = Token::read(text, &secret).filter(|token| token.s == search).ok_or_else(|| {
                bad("`page.token` is not a token of this search: send the rest of the request as it was, or begin anew without one")
            })?;
            if page.limit.is_some_and(|limit| at_most(limits, Some(limit)) != at_most(limits, token.l)) {
                return Err(bad(
                    "`page.limit` is not that of the page before: leave it out, or begin anew without a token",
                ));
            }
            (after, limit, stood) = (Some(token.a), token.l, Some(token.r));
        }
        let most = at_most(limits, limit);
        // None are wanted; whether there is one is told all the same.
        let none = most == 0;
        let span = Span { after, limit: most.max(1) };
        Ok((Self { span, search, limit, none, wanted: request.page.is_some(), secret }, stood))
    }

    /// The page: what was found, after which candidate it goes on, and where it stands.
    pub(super) fn answer(
        self,
        mut results: Vec<Hit>,
        mut next: Option<String>,
        total: Option<usize>,
        stands: &str,
    ) -> Result<Response, Problem> {
        let all = (next.is_none() && self.span.after.is_none()).then_some(results.len());
        let total = total.or(all);
        if self.none && !results.is_empty() {
            results.clear();
            next = Some(self.span.after.unwrap_or_default());
        }
        let at = |after| Token { s: self.search, a: after, l: self.limit, r: stands.to_owned() };
        let next = next.map(|after| at(after).write(&self.secret));
        let page = (self.wanted || next.is_some()).then(|| PageBody {
            next_token: next.unwrap_or_default(),
            count: results.len(),
            total,
        });
        reply::json(StatusCode::OK, &SearchBody { page, results })
    }
}

impl Token {
    fn write(&self, secret: &str) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        let mut bytes = seal(&text, secret).map(|mac| mac.to_vec()).unwrap_or_default();
        bytes.extend_from_slice(&text);
        URL_SAFE_NO_PAD.encode(bytes)
    }
    /// None: nobody who knows the secret wrote it.
    fn read(text: &str, secret: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (mac, text) = bytes.split_at_checked(MAC)?;
        let mut expected = keyed(secret)?;
        expected.update(text);
        expected.verify_truncated_left(mac).ok()?;
        serde_json::from_slice(text).ok()
    }
}

/// How many results a limit means.
fn at_most(limits: &Limits, limit: Option<u64>) -> usize {
    limit.map_or(limits.page, |limit| usize::try_from(limit).unwrap_or(usize::MAX)).min(limits.page_max)
}

fn keyed(secret: &str) -> Option<Hmac<Sha256>> {
    Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()
}

fn seal(text: &[u8], secret: &str) -> Option<[u8; MAC]> {
    let mut mac = keyed(secret)?;
    mac.update(text);
    mac.finalize().into_bytes().get(..MAC)?.try_into().ok()
}

pub(super) fn bad(detail: &'static str) -> Problem {
    Problem::bad_request("invalid_page", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_by_nobody_elses_secret() {
        let token = || Token { s: "ab".into(), a: "bakery".into(), l: Some(3), r: "7".into() };
        let text = token().write("secret");
        let read = Token::read(&text, "secret").unwrap();
        assert_eq!((read.s, read.a, read.l, read.r), ("ab".into(), "bakery".into(), Some(3), "7".into()));
        assert!(Token::read(&text, "another").is_none());
        for n in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[n] = if other[n] == b'A' { b'B' } else { b'A' };
            assert!(Token::read(std::str::from_utf8(&other).unwrap(), "secret").is_none(), "byte {n}");
            assert!(Token::read(&text[..n], "secret").is_none(), "{n} bytes of it");
        }
    }
}
