//! Peers that vanished without a word: the system asks after them, where their protocol has no ping.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

/// Silence after which the system asks, and from then on the time between two questions. A dead peer's socket ends
/// after four minutes; rarely enough that a device on a radio link hardly notices.
const IDLE: Duration = Duration::from_secs(120);
const BETWEEN: Duration = Duration::from_secs(30);
const QUESTIONS: u32 = 4;

/// Turns TCP keep-alive on for all connections that this listener will accept, which get it from the listener.
pub(super) fn keep_alive(listener: impl AsFd) -> io::Result<()> {
    sockopt::set_socket_keepalive(&listener, true)?;
    sockopt::set_tcp_keepidle(&listener, IDLE)?;
    sockopt::set_tcp_keepintvl(&listener, BETWEEN)?;
    sockopt::set_tcp_keepcnt(&listener, QUESTIONS)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_is_accepted_is_asked_after() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        keep_alive(&listener).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(sockopt::socket_keepalive(&accepted).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&accepted).unwrap(), IDLE);
        assert_eq!(sockopt::tcp_keepintvl(&accepted).unwrap(), BETWEEN);
        assert_eq!(sockopt::tcp_keepcnt(&accepted).unwrap(), QUESTIONS);
    }
}
