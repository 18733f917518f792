//! The PROXY protocol, versions 1 and 2 (haproxy.org, `proxy-protocol.txt`): a header before the first byte of a
//! connection, in which a proxy says whom it speaks for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Longest header of version 1, its end included.
const LINE: usize = 107;
/// What a header of version 2 begins with.
const MAGIC: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Most bytes that a header of version 2 may have behind its first 16.
const REST: u16 = 4 * 1024;

/// Why a connection is not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("the header of the PROXY protocol is missing or malformed")]
    Malformed,
    #[error("a header of the PROXY protocol has {0} bytes, at most {REST} are accepted")]
    TooLong(u16),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads the header and not a byte more. None: the proxy speaks for itself.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, ProxyError> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first == *b"P" { version_1(stream).await } else { version_2(stream).await }
}

async fn version_1(stream: &mut TcpStream) -> Result<Option<SocketAddr>, ProxyError> {
    let mut line = Vec::with_capacity(LINE);
    let mut space = [0; LINE];
    while !line.ends_with(b"\n") {
        let room = space.get_mut(line.len()..).unwrap_or_default();
        let seen = stream.peek(room).await?;
        let seen = room.get_mut(..seen).unwrap_or_default();
        let end = seen.iter().position(|byte| *byte == b'\n').map_or(seen.len(), |at| at + 1);
        let part = seen.get_mut(..end).unwrap_or_default();
        if part.is_empty() {
            return Err(ProxyError::Malformed);
        }
        stream.read_exact(part).await?;
        line.extend_from_slice(part);
    }
    parse_line(&line).ok_or(ProxyError::Malformed)
}

async fn version_2(stream: &mut TcpStream) -> Result<Option<SocketAddr>, ProxyError> {
    let mut head = [0; 16];
    // What is something else may be shorter, and is judged by its first byte.
    stream.read_exact(head.get_mut(..1).unwrap_or_default()).await?;
    if head.first() != MAGIC.first() {
        return Err(ProxyError::Malformed);
    }
    stream.read_exact(head.get_mut(1..).unwrap_or_default()).await?;
    let (command, family, length) = parse_head(&head).ok_or(ProxyError::Malformed)?;
    if length > REST {
        return Err(ProxyError::TooLong(length));
    }
    let mut rest = vec![0; length.into()];
    stream.read_exact(&mut rest).await?;
    parse_rest(command, family, &rest).ok_or(ProxyError::Malformed)
}

/// Version 1, with its end. The outer None: malformed.
#[expect(clippy::option_option, reason = "a header may be sound and name nobody")]
fn parse_line(line: &[u8]) -> Option<Option<SocketAddr>> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = line.split(' ');
    if words.next() != Some("PROXY") {
        return None;
    }
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever follows it says nothing.
        return Some(None);
    }
    let mut address = || match family {
        "TCP4" => words.next()?.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        "TCP6" => words.next()?.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        _ => None,
    };
    let (from, _) = (address()?, address()?);
    let mut port = || {
        let port = words.next()?;
        let plain = port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse::<u16>().ok().filter(|_| plain)
    };
    let (from_port, _) = (port()?, port()?);
    words.next().is_none().then_some(Some(SocketAddr::new(from, from_port)))
}

/// Version 2: command, family and the length of the rest.
fn parse_head(head: &[u8; 16]) -> Option<(u8, u8, u16)> {
    let ([magic @ .., _, _, _, _], [.., version, family, high, low]) = (head, head);
    let command = *version & 0x0f;
    let sound = *magic == MAGIC && version >> 4 == 2 && command <= 1;
    sound.then_some((command, *family, u16::from_be_bytes([*high, *low])))
}

/// Version 2, what is behind the head. The outer None: malformed.
#[expect(clippy::option_option, reason = "a header may be sound and name nobody")]
fn parse_rest(command: u8, family: u8, rest: &[u8]) -> Option<Option<SocketAddr>> {
    match (command, family >> 4, family & 0x0f) {
        // LOCAL: the proxy looks whether we are there. Else a family that has no addresses of the internet.
        (0, ..) | (1, 0 | 3, _) => Some(None),
        (1, 1, 0..=2) => {
            let (from, rest) = rest.split_first_chunk::<4>()?;
            let (_, rest) = rest.split_first_chunk::<4>()?;
            Some(Some(SocketAddr::new(Ipv4Addr::from(*from).into(), ports(rest)?)))
        }
        (1, 2, 0..=2) => {
            let (from, rest) = rest.split_first_chunk::<16>()?;
            let (_, rest) = rest.split_first_chunk::<16>()?;
            Some(Some(SocketAddr::new(Ipv6Addr::from(*from).into(), ports(rest)?)))
        }
        _ => None,
    }
}

/// The source's, of the two.
fn ports(rest: &[u8]) -> Option<u16> {
    let (ports, _) = rest.split_first_chunk::<4>()?;
    let [high, low, ..] = *ports;
    Some(u16::from_be_bytes([high, low]))
}

#[cfg(test)]
mod tests;
