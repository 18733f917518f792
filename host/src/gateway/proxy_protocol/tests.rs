//! Headers that are sound, and everything else.

use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

/// What is made of these bytes, sent in pieces, and what is left behind them.
async fn reading(pieces: &[&[u8]]) -> (Result<Option<SocketAddr>, ProxyError>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    near.set_nodelay(true).unwrap();
    let write = async {
        for piece in pieces {
            if near.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        drop(near.shutdown().await);
    };
    let (read, ()) = tokio::join!(read(&mut far), write);
    let mut rest = Vec::new();
    drop(far.read_to_end(&mut rest).await);
    (read, rest)
}

fn version_2_of(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&MAGIC[..], &[0x20 | command, family], &length, rest].concat()
}

#[tokio::test]
async fn a_header_names_the_client_and_leaves_the_rest_alone() {
    let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
    let v6: Vec<u8> = [[0x20; 16], [1; 16]].concat().into_iter().chain([0, 7, 0, 80]).collect();
    let with_more = [&v4[..], &[4, 0, 1, b'x']].concat();
    for (header, wanted) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\r\n".to_vec(), Some("192.0.2.7:4660")),
        (b"PROXY TCP6 2001:db8::7 ::1 1 80\r\n".to_vec(), Some("[2001:db8::7]:1")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
        (version_2_of(1, 0x11, &v4), Some("192.0.2.7:4660")),
        (version_2_of(1, 0x11, &with_more), Some("192.0.2.7:4660")),
        (version_2_of(1, 0x21, &v6), Some("[2020:2020:2020:2020:2020:2020:2020:2020]:7")),
        (version_2_of(0, 0, &[]), None),
        (version_2_of(0, 0x11, &v4), None),
        (version_2_of(1, 0x31, &[0; 216]), None),
        (version_2_of(1, 0, &[1, 2, 3]), None),
    ] {
        let wanted = wanted.map(|address| address.parse().unwrap());
        let whole = [&header[..], b"GET \n"].concat();
        let (found, rest) = reading(&[&whole]).await;
        assert_eq!(found.unwrap(), wanted, "{header:?}");
        assert_eq!(rest, b"GET \n");
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        let (found, rest) = reading(&bytes).await;
        assert_eq!((found.unwrap(), &rest[..]), (wanted, &b"GET \n"[..]), "{header:?} byte by byte");
    }
}

#[tokio::test]
async fn what_is_no_header_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE));
    let [mut version_3, mut command_2] = [version_2_of(1, 0x11, &[0; 12]), version_2_of(1, 0x11, &[0; 12])];
    version_3[12] = 0x31;
    command_2[12] = 0x22;
    for bad in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00",
        b"",
        b"P",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        b"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        long.as_bytes(),
        &version_3,
        &command_2,
        &version_2_of(1, 0x11, &[0; 11]),
        &version_2_of(1, 0x21, &[0; 35]),
        &version_2_of(1, 0x13, &[0; 12]),
        &version_2_of(1, 0x41, &[0; 12]),
        &version_2_of(0, 0, &[0; REST as usize + 1]),
        &version_2_of(1, 0x11, &[0; 12])[..20],
    ] {
        let (found, _) = reading(&[bad]).await;
        assert!(found.is_err(), "{:?}", String::from_utf8_lossy(bad));
    }
}

proptest! {
    #[test]
    fn no_bytes_do_any_harm(line: Vec<u8>, head: [u8; 16], command in 0..=1_u8, family: u8, rest: Vec<u8>) {
        parse_line(&line);
        parse_head(&head);
        parse_rest(command, family, &rest);
    }

    #[test]
    fn every_address_is_read_as_it_was_written(from: SocketAddr, to: SocketAddr) {
        let (family, code, bytes) = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ("TCP4", 0x11, [from.octets(), to.octets()].concat()),
            (IpAddr::V6(from), IpAddr::V6(to)) => ("TCP6", 0x21, [from.octets(), to.octets()].concat()),
            _ => return Ok(()),
        };
        let line = format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
        let wanted = SocketAddr::new(from.ip(), from.port());
        prop_assert_eq!(parse_line(line.as_bytes()), Some(Some(wanted)));
        let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
        prop_assert_eq!(parse_rest(1, code, &[bytes, ports].concat()), Some(Some(wanted)));
    }
}
