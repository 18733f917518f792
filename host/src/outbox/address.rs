//! Which addresses a host name may lead to. The address that is checked is the one that is connected to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;

use crate::config::Network;

/// Resolves host names and leaves out addresses that are neither public nor in one of the operator's networks.
/// Literal addresses never come here: who wrote one into a grant or a webhook meant it.
#[derive(Clone)]
pub(super) struct Resolver {
    networks: Arc<[Network]>,
}

impl Resolver {
    pub(super) fn new(networks: &[Network]) -> Self {
        Self { networks: networks.into() }
    }

    fn allows(&self, address: IpAddr) -> bool {
        allows(&self.networks, address)
    }
}

/// Whether the address is public or in one of the operator's networks.
pub(super) fn allows(networks: &[Network], address: IpAddr) -> bool {
    let address = embedded(address);
    is_public(address) || networks.iter().any(|network| network.contains(address))
}

impl tower::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let (allowed, refused): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|address| resolver.allows(address.ip()));
            match (allowed.is_empty(), refused.first()) {
                (true, Some(refused)) => Err(io::Error::other(format!(
                    "{name} is at {}, which is no public address and in none of the networks of [outbox]",
                    refused.ip()
                ))),
                _ => Ok(allowed.into_iter()),
            }
        })
    }
}

/// The IPv4 address that is reached through an IPv6 one (mapped, NAT64, 6to4), else the address itself.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    let pair = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match (six.to_ipv4_mapped(), six.segments()) {
        (Some(four), _) => IpAddr::V4(four),
        (None, [0x64, 0xff9b, 0, 0, 0, 0, high, low]) => pair(high, low),
        (None, [0x2002, high, low, ..]) => pair(high, low),
        _ => address,
    }
}

/// Whether the address is somebody's on the public internet, by the registries of special-purpose addresses.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => is_public_v4(four),
        IpAddr::V6(six) => is_public_v6(six),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        // This network, private, shared (carrier NAT), loopback, link-local, protocol assignments, 6to4 relays,
        // benchmarks, multicast, reserved.
        [0 | 10 | 127 | 224..=255, ..]
        | [169, 254, ..]
        | [192, 0, 0, _]
        | [192, 168, ..]
        | [192, 88, 99, _] => true,
        [100, second, ..] => second & 0xc0 == 64,
        [172, second, ..] => second & 0xf0 == 16,
        [198, 18 | 19, ..] => true,
        _ => address.is_documentation(),
    };
    !special
}

/// Only 2000::/3 is given out; of it, the lower part of 2001::/16 is special and two blocks are for documents.
fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8,
        [0x3fff, second, ..] => second >= 0x1000,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(networks: &[&str], address: &str) -> bool {
        let networks: Vec<Network> = networks.iter().map(|network| network.parse().unwrap()).collect();
        Resolver::new(&networks).allows(address.parse().unwrap())
    }

    #[test]
    fn only_public_addresses_unless_the_operator_says_otherwise() {
        for public in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.1.1",
            "198.20.0.1",
        ] {
            assert!(allows(&[], public), "{public}");
        }
        for public in ["2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"] {
            assert!(allows(&[], public), "{public}");
        }
        for special in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.0.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00::1",
            "ff02::1",
            "fec0::1",
            "100::1",
            "2001:db8::1",
            "2001::1",
            "3fff::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "64:ff9b:1::1",
        ] {
            assert!(!allows(&[], special), "{special}");
        }
        assert!(allows(&["10.0.0.0/8"], "10.1.2.3") && allows(&["10.0.0.0/8"], "::ffff:10.1.2.3"));
        assert!(!allows(&["10.0.0.0/8"], "127.0.0.1") && allows(&["::1", "127.0.0.0/8"], "127.0.0.1"));
    }

    #[tokio::test]
    async fn names_of_this_machine_are_refused_also_when_written_as_numbers() {
        for name in ["localhost", "2130706433", "0x7f000001", "127.1"] {
            let resolve = |networks: &[Network]| {
                tower::Service::call(&mut Resolver::new(networks), name.parse::<Name>().unwrap())
            };
            assert!(resolve(&[]).await.is_err(), "{name}");
            let networks = ["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
            if name == "localhost" {
                assert!(resolve(&networks).await.unwrap().all(|address| address.ip().is_loopback()));
            }
        }
    }
}
