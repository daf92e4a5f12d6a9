"""What POST of JSON costs over the same TLS, for comparison: HTTP/1.1 at its shortest.

    post.py serve HOST PORT CERTIFICATE KEY AUTHORITY
    post.py post HOST PORT CERTIFICATE KEY AUTHORITY RECORDS    (JSON lines, in the village)

The client counts at its own interface and prints, as JSON, [bytes of IP, packets] of every
request by what it is: on a new connection, on one whose TLS session is resumed, on one that
is open, each with one record and with a hundred; and of closing a connection.
"""
import json
import pathlib
import socket
import ssl
import sys
import threading
import time

ROUNDS = 3
REST_S = 0.4
ETHERNET_HEADER_BYTES = 14
COUNTS = pathlib.Path("/sys/class/net/up0/statistics")


def context(side, certificate, key, authority):
    made = ssl.SSLContext(side)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.load_cert_chain(certificate, key)
    made.load_verify_locations(authority)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def request(stream):
    """Read one request or response to its end; false where there is none."""
    head = b""
    while b"\r\n\r\n" not in head:
        more = stream.recv(65536)
        if not more:
            return False
        head += more
    head, body = head.split(b"\r\n\r\n", 1)
    lines = [line.split(b": ") for line in head.split(b"\r\n")[1:]]
    length = dict((line[0].lower(), int(line[1])) for line in lines if line[0] == b"Content-Length")
    while len(body) < length.get(b"content-length", 0):
        body += stream.recv(65536)
    return True


def serve(host, port, *files):
    secure = context(ssl.PROTOCOL_TLS_SERVER, *files)
    # One ticket, as a broker of ours gives, that names a session the server remembers.
    secure.num_tickets = 1
    secure.options |= ssl.OP_NO_TICKET
    listener = socket.create_server((host, int(port)))
    while True:
        plain, _ = listener.accept()
        threading.Thread(target=answer, args=(secure, plain), daemon=True).start()


def answer(secure, plain):
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = secure.wrap_socket(plain, server_side=True)
        while request(stream):
            stream.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        stream.unwrap()
    except OSError:
        pass  # The client is gone.


def meter():
    def count(name):
        return int((COUNTS / name).read_text())

    time.sleep(REST_S)
    packets = count("rx_packets") + count("tx_packets")
    frames = count("rx_bytes") + count("tx_bytes")
    return frames - packets * ETHERNET_HEADER_BYTES, packets


def post(host, port, certificate, key, authority, records):
    secure = context(ssl.PROTOCOL_TLS_CLIENT, certificate, key, authority)
    lines = pathlib.Path(records).read_text().splitlines()
    bodies = {"one": lines[0].encode(), "hundred": ("[" + ",".join(lines[:100]) + "]").encode()}
    costs = {}

    def costing(what, act):
        before = meter()
        done = act()
        after = meter()
        costs.setdefault(what, []).append([after[0] - before[0], after[1] - before[1]])
        return done

    def connected(session):
        plain = socket.create_connection((host, int(port)))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return secure.wrap_socket(plain, session=session)

    def sent(stream, body):
        head = "POST /records HTTP/1.1\r\nHost: hub.wadi.internal\r\n" \
               f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        stream.sendall(head.encode() + body)
        assert request(stream)
        return stream

    def closed(stream):
        stream.unwrap()
        stream.close()

    for _ in range(ROUNDS):
        for size, body in bodies.items():
            stream = costing(f"cold {size}", lambda: sent(connected(None), body))
            costing(f"open {size}", lambda: sent(stream, body))
            session = stream.session
            costing("closing", lambda: closed(stream))
            stream = costing(f"resumed {size}", lambda: sent(connected(session), body))
            assert stream.session_reused
            closed(stream)
    print(json.dumps(costs))


if __name__ == "__main__":
    {"serve": serve, "post": post}[sys.argv[1]](*sys.argv[2:])
