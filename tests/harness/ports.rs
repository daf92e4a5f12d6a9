//! Free loopback ports.
//!
//! Below the ephemeral range, so that no outgoing connection takes the port of a
//! process that is about to be started again; never the same one twice.
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// First port handed out.
const PORT_FIRST: u32 = 10_000;
/// Ports looked at before starting over; Linux's ephemeral ports begin at 32,768.
const PORT_COUNT: u32 = 22_000;
/// Ports that others take just before us, at most.
const TAKEN_MAX: usize = 20;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port that nobody listens on now, and that this process was not given before.
pub fn free() -> u16 {
    // Processes start at different places, lest two test runs pick the same.
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..PORT_COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = (PORT_FIRST + start.wrapping_add(step) % PORT_COUNT) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free loopback port between {PORT_FIRST} and {}", PORT_FIRST + PORT_COUNT);
}

/// Listen on such a port. Whoever takes it between the look and this loses only that one.
pub fn listen(host: &str) -> io::Result<TcpListener> {
    let mut taken = 0;
    loop {
        match TcpListener::bind((host, free())) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && taken < TAKEN_MAX => {
                taken += 1;
            }
            other => return other,
        }
    }
}

/// Whether somebody listens on the port.
pub fn answers(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}
