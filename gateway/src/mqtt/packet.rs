//! Packets out of a stream of bytes, and into it.
//!
//! rumqttc knows the formats; what arrives is judged here first, since whoever
//! is at the other end may be anybody: nothing that was not asked for passes, and
//! no length is believed beyond the limit. Must not do I/O.
use bytes::{Buf, BytesMut};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Connect, ConnectProperties, ConnectReturnCode, Filter, Packet, PingReq, Publish, Subscribe,
};
use wadi_protocol::limits::MESSAGE_BYTES_MAX;

/// A topic, its length and the fixed header beside a message.
const PACKET_OVERHEAD_BYTES: usize = 512;
/// A packet of more bytes is refused, either way.
pub const PACKET_BYTES_MAX: usize = MESSAGE_BYTES_MAX + PACKET_OVERHEAD_BYTES;
/// The packet identifier of our one subscription.
const SUBSCRIBE_ID: u16 = 1;

/// What a broker may say to us.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// It answers our CONNECT.
    Connack {
        /// Zero if it lets us in.
        code: u8,
        /// Its own idea of the seconds between pings; 0 = it does not care.
        keep_alive_s: Option<u16>,
        /// The largest packet that it takes.
        packet_bytes_max: Option<u32>,
    },
    /// It answers our SUBSCRIBE; below 3 is success.
    Suback {
        /// The reason code.
        code: u8,
    },
    /// A message on our topic.
    Message(Vec<u8>),
    /// The answer to a ping.
    Pong,
    /// It ends the connection.
    Disconnect {
        /// The reason code.
        code: u8,
    },
}

/// What a broker must not say to us.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Strange {
    /// Its length.
    #[error("a packet of {0} bytes, more than {PACKET_BYTES_MAX}")]
    TooLarge(usize),
    /// Its form.
    #[error("malformed packet of type {0}")]
    Malformed(u8),
    /// Its type.
    #[error("a packet of type {0}, which nobody asked for")]
    Unasked(u8),
    /// A message that we did not subscribe to, or in a way that we did not.
    #[error("a message that nobody asked for")]
    Message,
}

/// Take the first packet out of the buffer; none = more bytes are needed. The
/// buffer never needs to hold more than [`PACKET_BYTES_MAX`] for that.
pub fn take(buffer: &mut BytesMut, topic: &str) -> Result<Option<Heard>, Strange> {
    let Some(len) = frame_len(buffer)? else {
        return Ok(None);
    };
    if buffer.len() < len {
        return Ok(None);
    }
    let kind = buffer[0] >> 4;
    let mut frame = buffer.split_to(len);
    // Codes are read as bytes: rumqttc fails on codes that it does not know, and
    // on a DISCONNECT without properties, which brokers do send.
    let body = &frame[len - body_len(&frame)..];
    match kind {
        14 => return Ok(Some(Heard::Disconnect { code: body.first().copied().unwrap_or(0) })),
        2 if body.get(1).is_some_and(|&code| code != 0) => {
            let (code, keep_alive_s, packet_bytes_max) = (body[1], None, None);
            return Ok(Some(Heard::Connack { code, keep_alive_s, packet_bytes_max }));
        }
        9 if body.len() >= 4 => {
            return Ok(Some(Heard::Suback { code: body[body.len() - 1] }));
        }
        2 | 3 | 13 => {}
        9 => return Err(Strange::Malformed(kind)),
        _ => return Err(Strange::Unasked(kind)),
    }
    match Packet::read(&mut frame, None).map_err(|_| Strange::Malformed(kind))? {
        Packet::ConnAck(ack) if ack.code == ConnectReturnCode::Success => {
            let properties = ack.properties.as_ref();
            Ok(Some(Heard::Connack {
                code: 0,
                keep_alive_s: properties.and_then(|all| all.server_keep_alive),
                packet_bytes_max: properties.and_then(|all| all.max_packet_size),
            }))
        }
        Packet::PingResp(_) => Ok(Some(Heard::Pong)),
        Packet::Publish(publish) => {
            // We allowed no aliases, and no quality of service above 0.
            let alias = publish.properties.as_ref().and_then(|all| all.topic_alias);
            if publish.qos != QoS::AtMostOnce || alias.is_some() || publish.topic != topic {
                return Err(Strange::Message);
            }
            Ok(Some(Heard::Message(publish.payload.to_vec())))
        }
        _ => Err(Strange::Unasked(kind)),
    }
}

/// Bytes of the first packet, as soon as its fixed header is whole.
fn frame_len(bytes: &[u8]) -> Result<Option<usize>, Strange> {
    let mut remaining = 0usize;
    for at in 0..4 {
        let Some(&byte) = bytes.get(1 + at) else {
            return Ok(None);
        };
        remaining |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let len = 2 + at + remaining;
            return if len > PACKET_BYTES_MAX {
                Err(Strange::TooLarge(len))
            } else {
                Ok(Some(len))
            };
        }
    }
    Err(Strange::Malformed(bytes[0] >> 4))
}

/// Bytes after the fixed header of a whole frame.
fn body_len(mut frame: &[u8]) -> usize {
    frame.advance(1);
    while frame.has_remaining() && frame.get_u8() & 0x80 != 0 {}
    frame.len()
}

/// CONNECT: clean, no session, QoS 0 only.
pub fn connect(out: &mut BytesMut, client: &str, keep_alive_s: u16) {
    let mut properties = ConnectProperties::new();
    properties.max_packet_size = Some(PACKET_BYTES_MAX as u32);
    let connect = Connect {
        keep_alive: keep_alive_s,
        client_id: client.into(),
        clean_start: true,
        properties: Some(properties),
    };
    put(out, &Packet::Connect(connect, None, None));
}

/// SUBSCRIBE to one topic.
pub fn subscribe(out: &mut BytesMut, topic: &str) {
    let mut subscribe = Subscribe::new(Filter::new(topic, QoS::AtMostOnce), None);
    subscribe.pkid = SUBSCRIBE_ID;
    put(out, &Packet::Subscribe(subscribe));
}

/// PUBLISH a message.
pub fn publish(out: &mut BytesMut, topic: &str, message: Vec<u8>) {
    put(out, &Packet::Publish(Publish::new(topic, QoS::AtMostOnce, message, None)));
}

/// PINGREQ.
pub fn ping(out: &mut BytesMut) {
    put(out, &Packet::PingReq(PingReq));
}

/// Our own packets are well formed and far below MQTT's limits.
fn put(out: &mut BytesMut, packet: &Packet) {
    packet.write(out, None).expect("own packets can be encoded");
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
