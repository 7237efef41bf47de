//! Did the caller mean this service? The `Host` check against DNS rebinding.
//!
//! Without authentication the loopback address is the whole protection, and a web page can undo it: its own name is
//! made to resolve to 127.0.0.1, and the visitor's browser carries its requests here as "same origin". The browser
//! still says the page's name in `Host`. So on an unauthenticated TCP listener only names that cannot be somebody
//! else's are answered: a loopback literal, `localhost`, or the address listened on. Browsers do not reach unix sockets.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, Uri, Version, header, uri::Authority};

use super::problem::Problem;
use crate::config::{Auth, Listen};

/// Which hosts a listener answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosts {
    /// Any: something else tells who the caller is.
    Any,
    /// This machine's own names, and the address listened on.
    Local(IpAddr),
}

impl Hosts {
    /// What the settings ask for on a listener.
    #[must_use]
    pub const fn of(listen: &Listen, auth: Auth) -> Self {
        match (auth, listen) {
            (Auth::None, Listen::Tcp(address)) => Self::Local(address.ip()),
            (Auth::None, Listen::Unix(_)) | (Auth::Basic | Auth::ApiKey | Auth::Mtls, _) => Self::Any,
        }
    }

    /// Checks a request's `Host`, and the authority of its target where it has one (RFC 9112 §3.2.2).
    pub(super) fn check(self, version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let mut said = headers.get_all(header::HOST).iter();
        let host = match (said.next(), said.next()) {
            (Some(only), None) => Some(only.to_str().ok().and_then(|host| host.parse().ok()).ok_or_else(ill_formed)?),
            (None, _) if version < Version::HTTP_11 => None,
            _ => return Err(ill_formed()),
        };
        let Self::Local(listen) = self else { return Ok(()) };
        if host.iter().chain(uri.authority()).all(|authority| is_ours(authority, listen)) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "host_not_allowed",
            "without authentication the Host header must be `localhost`, a loopback address or the address listened on",
        ))
    }
}

fn ill_formed() -> Problem {
    Problem::bad_request("invalid_host", "the request must have exactly one well-formed Host header")
}

fn is_ours(authority: &Authority, listen: IpAddr) -> bool {
    let host = authority.host();
    if authority.as_str().contains('@') {
        return false;
    }
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match literal.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback() || ip == listen,
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(hosts: Hosts, said: &[&'static str], uri: &'static str) -> u16 {
        let mut headers = HeaderMap::new();
        for value in said {
            headers.append(header::HOST, HeaderValue::from_static(value));
        }
        let checked = hosts.check(Version::HTTP_11, &Uri::from_static(uri), &headers);
        checked.map_or_else(|problem| problem.status().as_u16(), |()| 200)
    }

    #[test]
    fn only_names_that_cannot_be_somebody_elses() {
        let local = Hosts::of(&"192.0.2.7:80".parse().unwrap(), Auth::None);
        for good in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.1.2.3",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
            "192.0.2.7",
            "192.0.2.7:9",
        ] {
            assert_eq!(check(local, &[good], "/x"), 200, "{good}");
        }
        for bad in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.8",
            "0.0.0.0",
            "[::]",
            "localhost@evil.example",
            "user@localhost",
            "2130706433",
            "127.1",
            "localhost.",
        ] {
            assert_eq!(check(local, &[bad], "/x"), 421, "{bad}");
            assert_eq!(check(Hosts::Any, &[bad], "/x"), 200, "the control: with authentication it is not asked: {bad}");
        }
        assert_eq!(check(local, &["localhost"], "http://evil.example/x"), 421, "the target's authority counts too");
        assert_eq!(check(local, &["localhost"], "http://localhost/x"), 200);
    }

    #[test]
    fn one_well_formed_host_is_asked_of_everybody() {
        for hosts in [Hosts::Any, Hosts::Local(IpAddr::from([127, 0, 0, 1]))] {
            for said in [&[][..], &["localhost", "localhost"], &["local host"], &["[::1"], &["a/b"]] {
                assert_eq!(check(hosts, said, "/"), 400, "{said:?}");
            }
            let none = hosts.check(Version::HTTP_10, &Uri::from_static("/"), &HeaderMap::new());
            assert!(none.is_ok(), "HTTP/1.0 has no Host, and no browser speaks it");
        }
        assert_eq!(Hosts::of(&"unix:/x".parse().unwrap(), Auth::None), Hosts::Any);
    }
}
