//! Addresses that cannot be had.
use std::net::TcpListener;

use crate::{FAILED, folder, hub};

#[test]
fn an_address_that_is_taken_is_named_with_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let embedded = "give another address in [embedded] listen, or end the program that has this";
    for (text, what, advice) in [
        (
            format!("[embedded]\nlisten = \"{address}\"\n"),
            format!("embedded broker on {address}: "),
            embedded,
        ),
        (
            format!("[embedded]\nlisten = \"{address}\"\ntls = true\n"),
            format!("[embedded] listen {address}: "),
            embedded,
        ),
        (
            format!("[embedded]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"{address}\"\n"),
            format!("[metrics] listen {address}: "),
            "give another port, or end the program that has it",
        ),
    ] {
        let folder = folder(&text);
        hub(folder.path(), &["serve"]).told(FAILED, &[&what, "in use", advice]);
    }
}
