use super::*;

fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(ALIGN_BYTES), 0);
    bytes
}

fn link(kind: u16, index: u32, flags: u32) -> Vec<u8> {
    let mut body = vec![0, 0, 1, 0];
    body.extend(index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend([0xff; 4]);
    message(kind, &body)
}

fn read(interfaces: &mut Interfaces, datagram: &[u8]) -> Change {
    let mut change = Change::default();
    interfaces.read(datagram, &mut change);
    change
}

const NOTHING: Change = Change { up: false, down: false };
const UP: Change = Change { up: true, down: false };
const DOWN: Change = Change { up: false, down: true };
const RUNS: u32 = IFF_UP | IFF_RUNNING;

#[test]
fn an_interface_counts_when_its_state_changes() {
    let mut known = Interfaces::default();
    assert_eq!(read(&mut known, &link(RTM_NEWLINK, 2, RUNS)), UP);
    // Its traffic, its queue length or a Wi-Fi scan: nothing new.
    assert_eq!(read(&mut known, &link(RTM_NEWLINK, 2, RUNS | 0x1000)), NOTHING);
    assert_eq!(read(&mut known, &link(RTM_NEWLINK, 2, IFF_UP)), DOWN);
    assert_eq!(read(&mut known, &link(RTM_NEWLINK, 2, 0)), NOTHING);
    assert_eq!(read(&mut known, &link(RTM_NEWLINK, 2, RUNS)), UP);
    assert_eq!(read(&mut known, &link(RTM_DELLINK, 2, RUNS)), DOWN);
    assert_eq!(read(&mut known, &link(RTM_NEWLINK, 1, RUNS | IFF_LOOPBACK)), NOTHING);
}

#[test]
fn addresses_and_routes_that_reach_others_count() {
    let mut known = Interfaces::default();
    let address = |scope| message(RTM_NEWADDR, &[2, 24, 0, scope, 2, 0, 0, 0]);
    assert_eq!(read(&mut known, &address(0)), UP);
    assert_eq!(read(&mut known, &address(RT_SCOPE_LINK)), NOTHING);
    assert_eq!(read(&mut known, &message(RTM_DELADDR, &[2, 24, 0, 0, 2, 0, 0, 0])), DOWN);
    let route = |kind, to| message(kind, &[2, 0, 0, 0, 254, 3, 0, to, 0, 0, 0, 0]);
    assert_eq!(read(&mut known, &route(RTM_NEWROUTE, RTN_UNICAST)), UP);
    assert_eq!(read(&mut known, &route(RTM_NEWROUTE, 2)), NOTHING);
    assert_eq!(read(&mut known, &route(RTM_DELROUTE, RTN_UNICAST)), DOWN);
    // Several in one datagram.
    let both = [route(RTM_DELROUTE, RTN_UNICAST), address(0)].concat();
    assert_eq!(read(&mut known, &both), Change { up: true, down: true });
}

#[test]
fn any_bytes_are_passed_over() {
    let whole = [link(RTM_NEWLINK, 2, RUNS), link(RTM_NEWLINK, 3, RUNS)].concat();
    for len in 0..whole.len() {
        read(&mut Interfaces::default(), &whole[..len]);
    }
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..100_000 {
        let mut bytes = whole.clone();
        for _ in 0..4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = state as usize % bytes.len();
            bytes[at] = (state >> 32) as u8;
        }
        read(&mut Interfaces::default(), &bytes);
    }
    for len in [0u32, 1, 15, 17, u32::MAX] {
        let mut bytes = whole.clone();
        bytes[..4].copy_from_slice(&len.to_ne_bytes());
        read(&mut Interfaces::default(), &bytes);
    }
}

#[test]
fn interfaces_without_end_take_no_memory_without_end() {
    let mut known = Interfaces::default();
    for index in 0..10_000 {
        assert_eq!(read(&mut known, &link(RTM_NEWLINK, index, RUNS)), UP);
        assert!(known.0.len() <= INTERFACES_MAX);
    }
}

#[tokio::test]
async fn this_machine_has_netlink_and_a_deaf_route_waits() {
    socket().unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(50), Route::deaf().changed()).await;
    assert!(waited.is_err());
}
