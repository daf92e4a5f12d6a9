//! MQTT 5 as far as a proxy must know it: where a packet ends, and which packets
//! may be lost, doubled or overtaken (publishes of QoS 0; all others hold the
//! protocol together and pass in order).

/// A packet of more bytes is not one of ours: the connection is closed.
const PACKET_BYTES_MAX: usize = 1 << 20;
/// The packet type of PUBLISH, upper half of the first byte.
const PUBLISH: u8 = 3;

/// Cuts a stream into packets.
#[derive(Debug, Default)]
pub struct Splitter {
    held: Vec<u8>,
}

/// The stream is not MQTT.
#[derive(Debug, PartialEq, Eq)]
pub struct NotMqtt;

impl Splitter {
    /// Take bytes; the packets that are whole now.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, NotMqtt> {
        self.held.extend_from_slice(bytes);
        let mut packets = Vec::new();
        while let Some(len) = packet_len(&self.held)? {
            if self.held.len() < len {
                break;
            }
            let rest = self.held.split_off(len);
            packets.push(std::mem::replace(&mut self.held, rest));
        }
        Ok(packets)
    }
}

/// Bytes of the first packet, as soon as its header is whole.
fn packet_len(bytes: &[u8]) -> Result<Option<usize>, NotMqtt> {
    let mut remaining = 0usize;
    for at in 0..4 {
        let Some(&byte) = bytes.get(1 + at) else {
            return Ok(None);
        };
        remaining |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let len = 2 + at + remaining;
            return if len > PACKET_BYTES_MAX { Err(NotMqtt) } else { Ok(Some(len)) };
        }
    }
    Err(NotMqtt)
}

/// Whether the packet is a publish of QoS 0: the only kind that a network may
/// lose, double or reorder without breaking MQTT itself.
pub fn is_loose(packet: &[u8]) -> bool {
    packet.first().is_some_and(|&first| first >> 4 == PUBLISH && first & 0b0110 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_in_any_pieces() {
        let ping = [0xc0, 0x00];
        let mut publish = vec![0x30, 0xc8, 0x01];
        publish.extend([7; 200]);
        let stream = [&ping[..], &publish, &ping].concat();
        for piece in [1, 2, 3, 50, 500] {
            let mut splitter = Splitter::default();
            let packets: Vec<Vec<u8>> =
                stream.chunks(piece).flat_map(|bytes| splitter.push(bytes).unwrap()).collect();
            assert_eq!(packets, [ping.to_vec(), publish.clone(), ping.to_vec()]);
        }
    }

    #[test]
    fn a_stream_that_is_not_mqtt() {
        assert_eq!(Splitter::default().push(&[0x30, 0xff, 0xff, 0xff, 0xff]), Err(NotMqtt));
    }

    #[test]
    fn only_publishes_of_qos_0_are_loose() {
        assert!(is_loose(&[0x30, 0]) && is_loose(&[0x31, 0]));
        assert!(!is_loose(&[0x32, 0]) && !is_loose(&[0x34, 0]) && !is_loose(&[0x82, 0]));
    }
}
