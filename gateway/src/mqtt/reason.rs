//! MQTT's reason codes in words, each with what a person can do about it.
//!
//! Codes are kept as the byte that came: a broker may send one that no library
//! knows, and that must not hide that it refused.

/// What a reason code means (MQTT 5, section 2.4).
pub fn meaning(code: u8) -> &'static str {
    match code {
        0x00 => "normal end",
        // A broker of MQTT 3 refuses in its own numbers.
        0x01 => "it does not speak MQTT 5",
        0x04 => "end with will message",
        0x80 => "unspecified error",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "implementation specific error",
        0x84 => "it does not speak MQTT 5",
        0x85 => "client identifier not valid",
        0x86 => "bad user name or password",
        0x87 => "not authorised",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8a => "banned",
        0x8b => "server shutting down",
        0x8c => "bad authentication method",
        0x8d => "keep-alive timeout",
        0x8e => "another client took over with the same identifier",
        0x8f => "topic filter not valid",
        0x90 => "topic name not valid",
        0x91 => "packet identifier in use",
        0x93 => "too many packets in flight",
        0x94 => "topic alias not valid",
        0x95 => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "ended by an administrator",
        0x99 => "payload format not valid",
        0x9a => "retained messages not supported",
        0x9b => "quality of service not supported",
        0x9c => "use another server",
        0x9d => "server moved",
        0x9e => "shared subscriptions not supported",
        0x9f => "connection rate exceeded",
        0xa0 => "maximum connect time",
        0xa1 => "subscription identifiers not supported",
        0xa2 => "wildcard subscriptions not supported",
        _ => "a reason that MQTT 5 does not define",
    }
}

/// What to do about it.
pub fn advice(code: u8) -> &'static str {
    match code {
        0x01 | 0x84 => "use a broker that speaks MQTT 5",
        0x85 => "check `gateway` in the configuration: it is part of the client identifier",
        0x86 | 0x87 | 0x8c => {
            "check that the hub knows this gateway (`wadi-hub gateway list`) and has not revoked it, and the broker's access rules"
        }
        0x8a => "ask who runs the broker why this gateway is banned",
        0x88 | 0x89 | 0x8b | 0x96 | 0x97 | 0x9f | 0xa0 => {
            "nothing to do here: it is tried again; if it lasts, look at the broker's load and limits"
        }
        0x8d => "nothing to do here: the link was too slow or cut, it is made anew",
        0x8e => "check that no other gateway runs with the same `gateway` number (a copied card?)",
        0x8f | 0x90 | 0x9b | 0x9e | 0xa1 | 0xa2 => {
            "check the broker's configuration: it must allow the topics below `wadi/`"
        }
        0x95 => "raise the broker's greatest packet size to at least 20 KiB",
        0x9c | 0x9d => "ask for the broker's new address, and set broker.host and broker.port",
        _ => "look at the broker's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_words_and_something_to_do() {
        for code in 0..=u8::MAX {
            assert!(!meaning(code).is_empty() && advice(code).len() > 10, "{code:#04x}");
        }
    }

    #[test]
    fn people_read_these() {
        for (code, means, does) in [
            (0x87, "not authorised", "wadi-hub gateway list"),
            (0x89, "server busy", "tried again"),
            (0x8a, "banned", "who runs the broker"),
            (0x85, "client identifier", "`gateway` in the configuration"),
            (0x9d, "moved", "broker.host"),
            (0x97, "quota", "limits"),
            (0x8e, "another client", "copied card"),
        ] {
            assert!(meaning(code).contains(means), "{code:#04x}: {}", meaning(code));
            assert!(advice(code).contains(does), "{code:#04x}: {}", advice(code));
        }
    }
}
