//! The few system calls that nothing else wraps.
#![expect(
    unsafe_code,
    reason = "system calls without a safe wrapper; each is one call"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// SO_NETNS_COOKIE (asm-generic/socket.h), Linux 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// The cookie of the network namespace that a socket lives in.
///
/// # Errors
/// ENOPROTOOPT before Linux 5.14.
pub fn netns_cookie(socket: impl AsFd) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: both pointers are to live values, and `len` is the first one's size.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if result == 0 {
        Ok(cookie)
    } else {
        Err(io::Error::last_os_error())
    }
}
