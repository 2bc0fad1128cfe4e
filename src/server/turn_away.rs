//! Closing a listening socket without turning away a client that was promised to be served.
//!
//! The system answers a handshake of TCP before anybody accepts the connection, and resets those that wait when their
//! socket is closed. So the socket first hears no more SYN; those who have sent one before finish their handshake and
//! are accepted; then nobody is left to reset. A SYN that was not heard is sent again by the client's system after a
//! second, and meets another process on the same port, or nobody: both are clear, and neither loses a request.

use tokio::net::TcpListener;

/// Has a listening socket hear no new clients; `false` where the system has no such thing.
#[cfg(target_os = "linux")]
pub(super) fn turn_away(listener: &TcpListener) -> bool {
    use socket2::{SockFilter, SockRef};
    // Classic BPF (Linux, Documentation/networking/filter.rst). A TCP socket's filter sees the TCP header first.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    // Where the flags are in the header, and one of them (RFC 9293, section 3.1).
    const FLAGS: u32 = 13;
    const SYN: u32 = 2;
    let filter = [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    SockRef::from(listener).attach_filter(&filter).is_ok()
}

/// Has a listening socket hear no new clients; `false` where the system has no such thing.
#[cfg(not(target_os = "linux"))]
pub(super) fn turn_away(_listener: &TcpListener) -> bool {
    false
}
