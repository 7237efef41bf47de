//! How does a caller follow the change feed without asking again and again? As server-sent events (WHATWG HTML §9.2).
//!
//! One event is one whole revision, with its number as the event's id, so that a caller which resumes after an id has
//! missed nothing and got no half of anything. After everything that there is, a `position` event says so with the
//! revision's token; while nothing happens a comment shows that both sides are there, and that this replica's lease holds.
//!
//! Memory is bounded by one page for each stream: the next page is read when the connection has taken the last one
//! (hyper asks for it), so a slow reader slows the reading of its own stream and nothing else. A queue between the commit
//! and the streams lost: it is either without bound or drops what it was made to deliver, and the log is there already.

use std::{
    fmt::Write as _,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use hyper::body::Frame;
use serde::Serialize;
use smol_str::SmolStr;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use super::{Service, reply};
use crate::{
    app::{News, Position, Told},
    http::problem::Problem,
    revision::Revision,
    store::Change,
};

/// Between two comments of a stream on which nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How soon a caller comes back when its stream has ended: two seconds.
const RETRY: &str = "retry: 2000\n\n";

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const EVENT_STREAM: &str = "text/event-stream";

/// In which form the feed is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Page,
    Stream,
}

impl Form {
    /// What `Accept` prefers; of two that are wanted as much, the one named more plainly, and then the page.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut said = headers.get_all(header::ACCEPT).iter().peekable();
        if said.peek().is_none() {
            return Ok(Self::Page);
        }
        let (mut page, mut stream) = (Wish::default(), Wish::default());
        for range in said.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let weight = weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
            page.hear(&name, weight, "application/json", "application/*");
            stream.hear(&name, weight, EVENT_STREAM, "text/*");
        }
        if page.weight <= 0.0 && stream.weight <= 0.0 {
            return Err(Problem::new(
                StatusCode::NOT_ACCEPTABLE,
                "not_acceptable",
                "the change feed is `application/json`, a page, or `text/event-stream`, a stream",
            ));
        }
        let streams = stream.weight > page.weight || (stream.weight >= page.weight && stream.plain > page.plain);
        Ok(if streams { Self::Stream } else { Self::Page })
    }
}

/// How much one form is wanted: by the range that names it most plainly.
#[derive(Debug, Clone, Copy, Default)]
struct Wish {
    plain: u8,
    weight: f32,
}

impl Wish {
    fn hear(&mut self, name: &str, weight: f32, whole: &str, family: &str) {
        let plain = match name {
            _ if name == whole => 3,
            _ if name == family => 2,
            "*/*" => 1,
            _ => return,
        };
        if plain > self.plain {
            *self = Self { plain, weight };
        }
    }
}

/// One revision, as the data of an event of the type `change`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ChangeEvent<'a> {
    /// The revision; the event's id as well.
    #[schema(value_type = u64)]
    revision: Revision,
    /// Everything that it changed.
    #[schema(value_type = Vec<Change>)]
    changes: &'a [Change],
}

/// The data of an event of the type `position`.
#[derive(Debug, Serialize)]
struct PositionEvent<'a> {
    revision: Revision,
    token: &'a str,
}

/// Opens a stream after the revision that the query names, or after the one that the caller has got already.
pub(super) async fn open(
    service: &Service,
    (method, headers): (&Method, &HeaderMap),
    query: &reply::PageQuery,
    after: Revision,
) -> Result<Response, Problem> {
    if query.limit.is_some() {
        return Err(Problem::bad_request("invalid_query", "`limit` is for pages: a stream has no end"));
    }
    let after = match last_event_id(headers)? {
        Some(position) => service.app().position(position).await?,
        None => after,
    };
    let history = service.app().followed();
    let Some(history) = history else {
        // Says why.
        service.app().ready().await?;
        return Err(Problem::internal());
    };
    let mut response = Response::new(Body::empty());
    let told = response.headers_mut();
    told.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    // A proxy that collects an answer before it passes it on would hold back what has to be dropped now.
    told.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    if *method == Method::HEAD {
        return Ok(response);
    }
    let place = std::sync::Arc::clone(service.streams()).try_acquire_owned().map_err(|_| {
        let most = service.limits().streams;
        Problem::unavailable("too_many_streams", format!("{most} streams are open here, which is the most"))
            .header(header::RETRY_AFTER, HeaderValue::from_static("5"))
    })?;
    let news = service.app().news();
    let (service, begun, beat) = (service.clone(), false, Instant::now() + HEARTBEAT);
    let following = Following { service, news, history, at: after, begun, beat, _place: place };
    *response.body_mut() = Body::new(Frames { work: Some(Box::pin(following.next())) });
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Position>, Problem> {
    let bad =
        || Problem::bad_request("invalid_header", "`Last-Event-ID` is the id of an event of this feed: a revision");
    let mut said = headers.get_all(LAST_EVENT_ID).iter();
    let (Some(id), another) = (said.next(), said.next()) else { return Ok(None) };
    // Who has no id yet sends none, or an empty one.
    if another.is_none() && id.is_empty() {
        return Ok(None);
    }
    let text = id.to_str().ok().filter(|_| another.is_none()).ok_or_else(bad)?;
    text.parse().map(Some).map_err(|_| bad())
}

/// Where one caller is.
struct Following {
    service: Service,
    news: News,
    /// The history that it follows: in another one its position means nothing.
    history: SmolStr,
    at: Revision,
    /// Whether it has been told where it is.
    begun: bool,
    /// When it hears something at the latest.
    beat: Instant,
    _place: OwnedSemaphorePermit,
}

impl Following {
    /// The next bytes to send; none when the stream ends, and the caller comes back with what it has.
    async fn next(mut self) -> (Option<Bytes>, Self) {
        let bytes = self.bytes().await;
        self.beat = Instant::now() + HEARTBEAT;
        (bytes, self)
    }

    async fn bytes(&mut self) -> Option<Bytes> {
        loop {
            self.news.seen();
            let app = self.service.app();
            let head = app.view().head().0;
            if self.news.is_ending() || app.view().epoch() != self.history || head < self.at {
                return None;
            }
            if head > self.at || !self.begun {
                return self.page().await;
            }
            match timeout_at(self.beat, self.news.more()).await {
                Ok(true) => {}
                Ok(false) => return None,
                // Silence would look like "nothing has changed", and this replica does not know that.
                Err(_) => return app.followed().map(|_| Bytes::from_static(b":\n\n")),
            }
        }
    }

    /// What has changed since, up to a page, and where that leads to.
    async fn page(&mut self) -> Option<Bytes> {
        let app = self.service.app();
        let told = app.changes(self.at, self.service.limits().page).await;
        let told = told.inspect_err(|failure| tracing::debug!(code = %failure.code, "a stream ends")).ok()?;
        let mut text = String::new();
        if !std::mem::replace(&mut self.begun, true) {
            text.push_str(RETRY);
        }
        self.at = write_changes(&mut text, &told, self.at)?;
        if !told.more {
            self.at = self.at.max(told.head);
            let token = app.token(self.at).await.ok()?.to_string();
            write_event(&mut text, "position", self.at, &PositionEvent { revision: self.at, token: &token })?;
        }
        Some(text.into())
    }
}

/// One event for each revision; the last of them, or `at` when there was none.
fn write_changes(text: &mut String, told: &Told, at: Revision) -> Option<Revision> {
    let mut last = at;
    for changes in told.items.chunk_by(|one, other| one.revision == other.revision) {
        let revision = changes.first()?.revision;
        write_event(text, "change", revision, &ChangeEvent { revision, changes })?;
        last = revision;
    }
    Some(last)
}

/// JSON has no line breaks of its own, so its data is one line.
fn write_event<T: Serialize>(text: &mut String, kind: &str, id: Revision, data: &T) -> Option<()> {
    let data = serde_json::to_string(data).inspect_err(|error| tracing::error!(%error, "an event cannot be written"));
    let data = data.ok()?;
    // A `String` takes whatever it is given.
    write!(text, "event: {kind}\nid: {id}\ndata: {data}\n\n").ok()
}

/// Some bytes and who goes on; no bytes at the end.
type Next = Pin<Box<dyn Future<Output = (Option<Bytes>, Following)> + Send>>;

/// The work for the next bytes, begun when the connection has room for them.
struct Frames {
    work: Option<Next>,
}

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = std::convert::Infallible;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        let (bytes, following) = ready!(work.as_mut().poll(cx));
        self.work = None;
        let Some(bytes) = bytes else { return Poll::Ready(None) };
        self.work = Some(Box::pin(following.next()));
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_form_is_served() {
        let of = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
            Form::of(&headers).map_err(|problem| problem.code().to_owned())
        };
        assert_eq!(Form::of(&HeaderMap::new()).unwrap(), Form::Page);
        for page in [
            "*/*",
            "application/json",
            "application/*",
            "text/html, */*;q=0.8",
            "application/json, text/event-stream",
            "text/event-stream;q=0.5, application/json",
            "text/event-stream;q=0, */*",
        ] {
            assert_eq!(of(page), Ok(Form::Page), "{page}");
        }
        for stream in [
            "text/event-stream",
            "TEXT/Event-Stream; charset=utf-8",
            "text/*",
            "text/event-stream, */*",
            "application/json;q=0.4, text/event-stream;q=0.5",
            "text/event-stream, application/json;q=0.9",
        ] {
            assert_eq!(of(stream), Ok(Form::Stream), "{stream}");
        }
        for neither in ["text/html", "image/*", "", "application/json;q=0", "text/event-stream;q=x"] {
            assert_eq!(of(neither), Err("not_acceptable".to_owned()), "{neither}");
        }
    }
}
