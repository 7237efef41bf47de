//! May events be sent to this address? Only to one that anybody on the internet could reach.
//!
//! A subscriber's name is looked up by us and may answer with an address of this machine, of its neighbours or of the
//! cloud's metadata service, which would then be asked in our name. An address that carries another one (mapped, NAT64)
//! is judged by what it carries. For IPv6 the list says what is allowed, because nearly all of its space is not in use;
//! the registries of special addresses (RFC 6890 and successors) are the source of both lists.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why nothing is sent there; none when it may be.
#[must_use]
pub fn refused(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => refused_v4(v4),
        IpAddr::V6(v6) => refused_v6(v6),
    }
}

fn refused_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("of this network"),
        [127, ..] => Some("a loopback address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("a private address"),
        [100, 64..=127, ..] => Some("an address shared behind a provider's NAT"),
        [169, 254, ..] => Some("a link-local address"),
        [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..=19, ..] => Some("an address with a special purpose"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("an address for documentation"),
        [224..=239, ..] => Some("a multicast address"),
        [240..=255, ..] => Some("a reserved address"),
        _ => None,
    }
}

fn refused_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([one, two], [three, four]) = (high.to_be_bytes(), low.to_be_bytes());
            refused_v4(Ipv4Addr::new(one, two, three, four))
        }
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        [0xfc00..=0xfdff, ..] => Some("a private address"),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        // Teredo and its neighbours, documentation, 6to4.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => {
            Some("an address with a special purpose")
        }
        [0x2000..=0x3fff, ..] => None,
        _ => Some("a reserved address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Refuses = fn(IpAddr) -> bool;

    const REFUSED: &[&str] = &[
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::2",
        "::127.0.0.1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::169.254.169.254",
        "64:ff9b::10.1.2.3",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:7f00:1::",
        "2001:20::1",
        "2001:1ff:ffff::",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::1",
        "3fff::1",
        "3fff:fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fdff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff00::1",
        "ff02::1",
        "ffff::1",
    ];
    /// The addresses beside those above: a rule that is too wide fails here.
    const PUBLIC: &[&str] = &[
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.1",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.1",
        "203.0.112.1",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2000::1",
        "2001:200::1",
        "2001:db7::1",
        "2001:db9::1",
        "2003::1",
        "2606:4700::1",
        "3fff:1000::1",
    ];

    fn of(text: &str) -> Option<&'static str> {
        refused(text.parse().unwrap())
    }

    #[test]
    fn what_is_near_is_refused_and_what_lies_beside_it_is_not() {
        for text in REFUSED {
            assert!(of(text).is_some(), "{text} is let through");
        }
        for text in PUBLIC {
            assert_eq!(of(text), None, "{text}");
        }
    }

    /// The table would catch a filter that forgets one form: each planted fault lets something through.
    #[test]
    fn planted_faults_are_caught() {
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        let faults: [(&str, Refuses); 4] = [
            ("only the standard library's idea of private", |ip| match ip {
                IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
                IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
            }),
            ("no look into what is carried", |ip| match ip {
                IpAddr::V4(v4) => refused_v4(v4).is_some(),
                IpAddr::V6(v6) => v6.is_loopback() || !matches!(v6.segments()[0], 0 | 0x64 | 0x2000..=0x3fff),
            }),
            ("mapped, but not NAT64", |ip| match ip.to_canonical() {
                IpAddr::V4(v4) => refused_v4(v4).is_some(),
                IpAddr::V6(v6) => v6.segments()[0] != 0x64 && refused_v6(v6).is_some(),
            }),
            ("the metadata service alone", |address| address == IpAddr::from([169, 254, 169, 254])),
        ];
        for (fault, refuses) in faults {
            assert!(REFUSED.iter().any(|text| !refuses(ip(text))), "not caught: {fault}");
        }
    }
}
