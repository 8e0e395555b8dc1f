#!/usr/bin/env python3
"""A server under test for connectrpc/conformance: the reference server behind Ravelin.

connectconformance starts this program, writes one ServerCompatRequest to its
standard input and reads one ServerCompatResponse from its standard output, each
behind its length (32 bits, big endian). The shim starts the reference server
without TLS on HTTP/2, a Ravelin of the wanted kind before it, and answers with
Ravelin's address. Both end when this program does.

Only the few fields that the shim itself needs are read by hand, so that it needs
nothing but Python's library.
"""

import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time

# ServerCompatRequest (connectrpc/conformance/v1/server_compat.proto)
PROTOCOL, HTTP_VERSION, USE_TLS, CLIENT_TLS_CERT, RECEIVE_LIMIT, SERVER_CREDS = 1, 2, 4, 5, 6, 7
HTTP_VERSION_2 = 2


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def encode_varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(data):
    """Fields by number: integers and byte strings, the only kinds used here."""
    fields, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            fields[key >> 3], at = varint(data, at)
        elif key & 7 == 2:
            size, at = varint(data, at)
            fields[key >> 3] = data[at : at + size]
            at += size
        else:
            raise ValueError(f"unexpected wire type {key & 7}")
    return fields


def encode(fields):
    out = bytearray()
    for number, value in fields.items():
        if isinstance(value, bytes):
            out += encode_varint(number << 3 | 2) + encode_varint(len(value)) + value
        else:
            out += encode_varint(number << 3) + encode_varint(value)
    return bytes(out)


def read_message(stream):
    size = stream.read(4)
    if len(size) < 4:
        raise EOFError("the other side closed before it said anything")
    return decode(stream.read(struct.unpack(">I", size)[0]))


def write_message(stream, fields):
    data = encode(fields)
    stream.write(struct.pack(">I", len(data)) + data)
    stream.flush()


def start_reference(request):
    process = subprocess.Popen(
        [os.environ.get("REFERENCE_SERVER", "referenceserver"), "-port", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    wanted = {PROTOCOL: request.get(PROTOCOL, 0), HTTP_VERSION: HTTP_VERSION_2}
    if RECEIVE_LIMIT in request:
        wanted[RECEIVE_LIMIT] = request[RECEIVE_LIMIT]
    write_message(process.stdin, wanted)
    answer = read_message(process.stdout)
    return process, f"{answer.get(1, b'127.0.0.1').decode()}:{answer[2]}"


def listener(request, folder):
    """The listener's line of the configuration, and the certificate to tell."""
    if not request.get(USE_TLS):
        return '{name: front, address: "127.0.0.1:0"}', b""

    def put(name, content):
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    creds = decode(request[SERVER_CREDS])
    tls = f"certificates: [{{cert: {put('cert.pem', creds[1])}, key: {put('key.pem', creds[2])}}}]"
    if request.get(CLIENT_TLS_CERT):
        ca = put("clients.pem", request[CLIENT_TLS_CERT])
        tls += f", client_auth: {{mode: required, ca: {ca}}}"
    return f'{{name: front, address: "127.0.0.1:0", tls: {{{tls}}}}}', creds[1]


def start_ravelin(line, upstream, folder):
    config = os.path.join(folder, "ravelin.yaml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(
            f"listeners:\n  - {line}\n"
            "routes:\n  - {name: all, to: up}\n"
            f'clusters:\n  up: {{endpoints: ["h2c://{upstream}"]}}\n'
            'admin: {address: "127.0.0.1:0"}\n'
            "access_log: {format: off}\n"
        )
    log = os.path.join(folder, "ravelin.log")
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [os.environ["RAVELIN"], "run", "--config", config], stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        with open(log, encoding="utf-8", errors="replace") as file:
            text = re.sub(r"\x1b\[[0-9;]*m", "", file.read())
        found = re.search(r'listening .*name="?front"? .*address="?[^\s"]*:(\d+)"?\s', text)
        if found:
            return process, int(found[1])
        time.sleep(0.05)
    with open(log, encoding="utf-8", errors="replace") as file:
        sys.stderr.write(file.read())
    process.kill()
    raise SystemExit("Ravelin did not start")


def main():
    # So that the `finally` below runs when the runner ends the shim.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    processes = []
    with tempfile.TemporaryDirectory(prefix="ravelin-conformance-") as folder:
        try:
            request = read_message(sys.stdin.buffer)
            reference, upstream = start_reference(request)
            processes.append(reference)
            line, certificate = listener(request, folder)
            ravelin, port = start_ravelin(line, upstream, folder)
            processes.append(ravelin)
            write_message(sys.stdout.buffer, {1: b"127.0.0.1", 2: port, 3: certificate})
            ravelin.wait()
            raise SystemExit("Ravelin has ended")
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
