//! What did the caller send? A request's body, read whole, within its limits, as JSON that can be meant one way only.
//!
//! Handlers call [`read`] for a [`Value`] whose members they interpret themselves, or [`read_as`] for a struct of our
//! own API. The decision path takes the [`body`] and has it [`parse`]d in place. Everything that goes wrong is a [`Problem`]: `400` with a code
//! (`unsupported_media_type`, `empty_body`, `invalid_json`, `duplicate_key`, `too_deep`, `invalid_body`,
//! `incomplete_body`), `408 body_timeout` or `413 body_too_large`.
//!
//! Never 415 or 422, which `axum::Json` answers: the AuthZEN suite asks for 400. An extractor type lost, because the
//! limit differs by route and is configuration.

mod strict;
mod tree;
mod typed;

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use strict::MAX_DEPTH;
pub use tree::{Json, Members};

use super::{problem::Problem, wire::BodyTimeout};

/// How much of a body that is over its limit is read and thrown away, so that the caller, who is still sending, gets
/// to read the answer. A caller that announces more than this, or asks first (`Expect`), is answered at once.
const DISCARD: usize = 1024 * 1024;

/// A request's body of at most `limit` bytes, said to be JSON.
///
/// # Errors
/// See the module: `400`, `408` or `413`.
pub async fn body(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let (head, body) = request.into_parts();
    // The body first: a connection whose request was not read to its end cannot be used again.
    let asks_first = head.headers.contains_key(header::EXPECT);
    let bytes = collect(body, limit, if asks_first { limit } else { DISCARD.max(limit) }).await?;
    require_json(&head.headers)?;
    Ok(bytes)
}

/// Reads a request's body as one JSON value of at most `limit` bytes.
///
/// # Errors
/// See the module: `400`, `408` or `413`.
pub async fn read(request: Request, limit: usize) -> Result<Value, Problem> {
    parse(&body(request, limit).await?).map(Value::from)
}

/// Reads a request's body as a `T`, which must be a struct or a map.
///
/// # Errors
/// As [`read`], and `400 invalid_body` that names the member.
pub async fn read_as<T: DeserializeOwned>(request: Request, limit: usize) -> Result<T, Problem> {
    typed(read(request, limit).await?)
}

/// Reads bytes as one JSON value: no key twice, at most [`MAX_DEPTH`] levels.
///
/// # Errors
/// `400` with the code and the place.
pub fn parse(bytes: &[u8]) -> Result<Json<'_>, Problem> {
    strict::read(bytes).map_err(|fault| Problem::bad_request(fault.code, fault.detail))
}

/// Reads a value as a `T`: objects only, no unknown member, at any depth.
///
/// # Errors
/// `400 invalid_body` that names the member.
pub fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    typed::read(value).map_err(|detail| Problem::bad_request("invalid_body", detail))
}

/// The body must say that it is JSON, once; a browser's cross-site form cannot.
fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let said = match (types.next(), types.next()) {
        (Some(only), None) => only.to_str().unwrap_or_default(),
        (None, _) => return Err(unsupported("the request has no Content-Type: send `application/json`")),
        (Some(_), Some(_)) => return Err(unsupported("the request has two Content-Types: send one")),
    };
    let essence = said.split_once(';').map_or(said, |(essence, _)| essence).trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(unsupported("the Content-Type is not `application/json`"))
    }
}

fn unsupported(detail: &'static str) -> Problem {
    Problem::bad_request("unsupported_media_type", detail)
}

/// The whole body of at most `limit` bytes, without a copy when it came in one piece; of a larger one, `discard` bytes
/// are read before the answer.
async fn collect(mut body: Body, limit: usize, discard: usize) -> Result<Bytes, Problem> {
    let announced = body.size_hint().lower();
    if announced > u64::try_from(discard).unwrap_or(u64::MAX) {
        return Err(too_large(limit));
    }
    let mut first = Bytes::new();
    let mut rest = Vec::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        // Trailers say nothing that we read.
        let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > limit {
            (first, rest) = (Bytes::new(), Vec::new());
            if length > discard {
                break;
            }
        } else if first.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
    }
    match length {
        length if length > limit => Err(too_large(limit)),
        _ if rest.is_empty() => Ok(first),
        _ => Ok(rest.into()),
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::too_large("body_too_large", format!("the body is larger than {limit} bytes"))
}

/// Why the body did not arrive.
fn broken(error: &axum::Error) -> Problem {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<BodyTimeout>() {
            return Problem::new(axum::http::StatusCode::REQUEST_TIMEOUT, "body_timeout", error.to_string());
        }
        cause = error.source();
    }
    Problem::bad_request("incomplete_body", "the body ended early or is not framed as HTTP asks")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn request(content_type: &[&'static str], body: impl Into<Body>) -> Request {
        let mut request = Request::new(body.into());
        for value in content_type {
            request.headers_mut().append(header::CONTENT_TYPE, HeaderValue::from_static(value));
        }
        request
    }

    #[tokio::test]
    async fn the_media_type_is_json_or_400() {
        for good in ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json ;x"] {
            assert_eq!(read(request(&[good], "{}"), 10).await, Ok(json!({})), "{good}");
        }
        for bad in [
            &[][..],
            &["text/plain"],
            &["application/jsonx"],
            &["application/json-patch+json"],
            &["application/problem+json"],
            &[""],
            &[";application/json"],
            &["application/json", "application/json"],
        ] {
            let problem = read(request(bad, "{}"), 10).await.unwrap_err();
            assert_eq!((problem.status().as_u16(), problem.code()), (400, "unsupported_media_type"), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_body_fits_or_is_413_however_it_comes() {
        let json = &["application/json"][..];
        let of = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
        assert!(read(request(json, of(100)), 100).await.is_ok());
        for over in [of(101), of(100_000), of(DISCARD + 1)] {
            let problem = read(request(json, over), 100).await.unwrap_err();
            assert_eq!((problem.status().as_u16(), problem.code()), (413, "body_too_large"));
        }
        let pieces = |text: String| {
            let pieces: Vec<Result<Bytes, std::io::Error>> =
                text.into_bytes().chunks(7).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            Body::new(Pieces(pieces.into_iter()))
        };
        assert_eq!(read(request(json, pieces(of(100))), 100).await, Ok(json!("x".repeat(98))));
        assert_eq!(read(request(json, pieces(of(101))), 100).await.unwrap_err().status(), 413);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_400() {
        let broken = vec![Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("gone"))];
        let body = Body::new(Pieces(broken.into_iter()));
        let problem = read(request(&["application/json"], body), 100).await.unwrap_err();
        assert_eq!((problem.status().as_u16(), problem.code()), (400, "incomplete_body"));
    }

    /// A body that comes in pieces, of unknown length.
    struct Pieces(std::vec::IntoIter<Result<Bytes, std::io::Error>>);

    impl axum::body::HttpBody for Pieces {
        type Data = Bytes;
        type Error = std::io::Error;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
            std::task::Poll::Ready(self.0.next().map(|piece| piece.map(hyper::body::Frame::data)))
        }
    }
}
