use super::*;

const TOPIC: &str = "wadi/1/down";

fn all(bytes: &[u8]) -> Result<Vec<Heard>, Strange> {
    let mut buffer = BytesMut::from(bytes);
    let mut heard = Vec::new();
    while let Some(packet) = take(&mut buffer, TOPIC)? {
        heard.push(packet);
    }
    Ok(heard)
}

fn message(topic: &str, payload: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    publish(&mut out, topic, payload.to_vec());
    out
}

#[test]
fn what_a_broker_says() {
    assert_eq!(
        all(&[0x20, 3, 0, 0, 0]).unwrap(),
        [Heard::Connack { code: 0, keep_alive_s: None, packet_bytes_max: None }]
    );
    let with_properties = [0x20, 11, 0, 0, 8, 19, 0, 7, 39, 0, 0, 1, 0];
    assert_eq!(
        all(&with_properties).unwrap(),
        [Heard::Connack { code: 0, keep_alive_s: Some(7), packet_bytes_max: Some(256) }]
    );
    assert_eq!(all(&[0x90, 4, 0, 1, 0, 0]).unwrap(), [Heard::Suback { code: 0 }]);
    assert_eq!(all(&[0x90, 4, 0, 1, 0, 0x87]).unwrap(), [Heard::Suback { code: 0x87 }]);
    assert_eq!(all(&[0xd0, 0, 0xd0, 0]).unwrap(), [Heard::Pong, Heard::Pong]);
    assert_eq!(all(&message(TOPIC, b"news")).unwrap(), [Heard::Message(b"news".to_vec())]);
}

/// Every code is heard, known to the library or not, with properties or without.
#[test]
fn refusals_keep_their_code() {
    for code in 1..=u8::MAX {
        for tail in [&[][..], &[0][..]] {
            let connack = [&[0x20, 2 + tail.len() as u8, 0, code], tail].concat();
            assert!(
                matches!(all(&connack).unwrap()[..], [Heard::Connack { code: heard, .. }] if heard == code)
            );
            let disconnect = [&[0xe0, 1 + tail.len() as u8, code], tail].concat();
            assert_eq!(all(&disconnect).unwrap(), [Heard::Disconnect { code }]);
        }
    }
    assert_eq!(all(&[0xe0, 0]).unwrap(), [Heard::Disconnect { code: 0 }]);
}

#[test]
fn what_nobody_asked_for() {
    assert_eq!(all(&message("wadi/2/down", b"x")), Err(Strange::Message));
    // Quality of service 1, and a topic alias, each with a topic that is ours.
    let mut qos1 = message(TOPIC, b"xx").to_vec();
    qos1[0] |= 2;
    assert!(all(&qos1).is_err());
    let alias = [&[0x30, 2 + 11 + 4, 0, 11], TOPIC.as_bytes(), &[3, 35, 0, 1]].concat();
    assert_eq!(all(&alias), Err(Strange::Message));
    for kind in [0u8, 1, 4, 5, 6, 7, 8, 10, 11, 12, 15] {
        assert_eq!(all(&[kind << 4, 0]), Err(Strange::Unasked(kind)));
    }
}

#[test]
fn a_length_is_refused_before_its_bytes_come() {
    let len = PACKET_BYTES_MAX as u32;
    let mut header = vec![0x30];
    header.extend([(len & 0x7f) as u8 | 0x80, (len >> 7 & 0x7f) as u8 | 0x80, (len >> 14) as u8]);
    assert_eq!(all(&header), Err(Strange::TooLarge(PACKET_BYTES_MAX + 4)));
    assert_eq!(all(&[0x30, 0xff, 0xff, 0xff, 0xff]), Err(Strange::Malformed(3)));
    assert!(all(&[0x30, 0xff, 0xff]).unwrap().is_empty());
}

#[test]
fn packets_in_any_pieces() {
    let stream =
        [&[0x20, 3, 0, 0, 0][..], &[0x90, 4, 0, 1, 0, 0], &message(TOPIC, &[7; 300]), &[0xd0, 0]]
            .concat();
    let whole = all(&stream).unwrap();
    assert_eq!(whole.len(), 4);
    for piece in 1..stream.len() {
        let (mut buffer, mut heard) = (BytesMut::new(), Vec::new());
        for bytes in stream.chunks(piece) {
            buffer.extend_from_slice(bytes);
            while let Some(packet) = take(&mut buffer, TOPIC).unwrap() {
                heard.push(packet);
            }
        }
        assert_eq!(heard, whole, "in pieces of {piece}");
    }
}

/// Hostile bytes: mutated packets and noise. No panic, nothing above the limit.
#[test]
fn hostile_bytes_are_judged() {
    let seeds = [
        vec![0x20, 11, 0, 0, 8, 19, 0, 7, 39, 0, 0, 1, 0],
        vec![0x90, 4, 0, 1, 0, 0],
        message(TOPIC, b"payload").to_vec(),
        [&[0x30, 2 + 11 + 4, 0, 11], TOPIC.as_bytes(), &[3, 35, 0, 1]].concat(),
        vec![0xe0, 5, 0x9d, 3, 28, 0, 0],
        vec![0xd0, 0],
    ];
    // A plain xorshift: the bytes are the same on every run.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut heard = 0;
    for _ in 0..200_000 {
        let mut bytes = seeds[random() as usize % seeds.len()].clone();
        for _ in 0..1 + random() % 4 {
            let at = random() as usize % bytes.len();
            match random() % 4 {
                0 => bytes[at] = random() as u8,
                1 => bytes.insert(at, random() as u8),
                2 => bytes[at] ^= 1 << (random() % 8),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Some(packet)) = take(&mut buffer, TOPIC) {
            heard += 1;
            if let Heard::Message(payload) = packet {
                assert!(payload.len() <= bytes.len());
            }
        }
    }
    assert!(heard > 1_000, "the mutations leave nothing valid: {heard}");
}
