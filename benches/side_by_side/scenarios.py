"""What is asked: the request, its answer, how many at once. Requests look like ZITADEL's."""

import hashlib
from dataclasses import dataclass

SERVICE = "/zitadel.user.v2.UserService"
# What every client of ZITADEL sends beside what its protocol asks for.
TOKEN = ("authorization", "Bearer " + "dGhpcy1pcy1hLXRva2VuLW9mLWEtdXN1YWwtbGVuZ3Ro" * 2)
GRPC = (("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", "grpc-go/1.76.0"), TOKEN)
BROWSER = (("accept", "application/json"), ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0"), TOKEN)
MESSAGE = b"\0\0\0\0\x0bhello world"
JSON = b'{"query":{"offset":"0","limit":100,"asc":true}}'
MEGABYTES = 100


@dataclass
class Scenario:
    name: str
    title: str
    path: str
    # How it is measured: see measure.py.
    method: str = "h2load"
    headers: tuple = ()
    # File of the run's folder to post.
    body: str = ""
    connections: int = 1
    streams: int = 1
    # Requests of one round: as a rule, and with --quick.
    count: int = 60000
    quick: int = 20000
    rate: int = 0
    http1: bool = False
    grpc: bool = False
    # Bytes of the answer's body, or the body.
    answer: object = b""
    # What is counted, and how many of it one request is (megabytes of a download).
    unit: str = "request"
    units: int = 1
    # What a full handshake's group is, or "resume".
    variant: str = ""
    # Not in --quick unless named.
    slow: bool = False
    workers: int = 1
    # From the proxy's own cache: nothing may go upstream.
    cached: bool = False
    # The proxy may use both cores, as the load does.
    shared: bool = False

    def expect(self, run):
        """What `ends check` must have seen."""
        if isinstance(self.answer, int):
            return {"bytes": self.answer}
        if isinstance(self.answer, str):
            # `check` decodes what is encoded.
            body = (run.folder / "assets" / self.answer).read_bytes()
            return {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        return {"bytes": len(self.answer), "sha256": hashlib.sha256(self.answer).hexdigest()}


def files(folder):
    """The bodies that are posted."""
    (folder / "message").write_bytes(MESSAGE)
    (folder / "query.json").write_bytes(JSON)
    with open(folder / "upload", "wb") as out:
        out.write(b"\0" * MEGABYTES * 1_000_000)
    for path in folder.iterdir():
        path.chmod(0o644)


def grpc(name, title, connections, streams, **more):
    return Scenario(name, title, SERVICE + "/Unary", headers=GRPC, body="message", connections=connections,
                    streams=streams, grpc=True, answer=MESSAGE, **more)


WEB = MESSAGE + b"\x80\0\0\0\x20grpc-status: 0\r\ngrpc-message: \r\n"

ALL = [
    grpc("grpc-1x100", "gRPC unary, 1 connection × 100 streams", 1, 100),
    grpc("grpc-10x32", "gRPC unary, 10 × 32", 10, 32),
    grpc("grpc-100x10", "gRPC unary, 100 × 10", 100, 10),
    grpc("grpc-2000", "gRPC unary at a fixed 2,000/s, 10 connections", 10, 32, rate=2000, count=8000, quick=2000),
    Scenario("grpc-web", "gRPC-Web unary, 10 × 32", SERVICE + "/Unary", body="message", connections=10, streams=32,
             headers=(("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1"), *BROWSER[1:]), answer=WEB),
    Scenario("connect", "Connect JSON unary, 10 × 32", SERVICE + "/Unary", body="query.json", connections=10, streams=32,
             headers=(("content-type", "application/json"), ("connect-protocol-version", "1"), *BROWSER[1:]), answer=JSON, slow=True),
    Scenario("json", "JSON of 2.5 KB over h2, 10 × 32", "/v2/users", headers=BROWSER, connections=10, streams=32, answer=2500),
    Scenario("json-h1", "JSON of 2.5 KB over HTTP/1.1, 32 connections", "/v2/users", headers=BROWSER, connections=32,
             http1=True, answer=2500, slow=True),
    Scenario("stream-100", "gRPC server stream of 100 messages, 4 × 8", SERVICE + "/ServerStream", headers=GRPC,
             body="message", connections=4, streams=8, grpc=True, answer=2100, count=5000, quick=2000),
    Scenario("ping-pong", "gRPC bidirectional ping-pong, 32 streams, a message", SERVICE + "/Bidi", "pingpong",
             headers=GRPC, streams=32, grpc=True, body="message", answer=MESSAGE, count=64000, quick=16000, unit="message"),
    Scenario("download", f"{MEGABYTES} MB down", f"/download/{MEGABYTES * 1_000_000}", headers=BROWSER, answer=MEGABYTES * 1_000_000,
             count=4, quick=2, unit="MB", units=MEGABYTES),
    Scenario("upload", f"{MEGABYTES} MB up", "/upload", headers=(("content-type", "application/octet-stream"), *BROWSER),
             body="upload", answer=str(MEGABYTES * 1_000_000).encode(), count=4, quick=2, unit="MB", units=MEGABYTES, slow=True),
    Scenario("handshake-full", "Full handshake, X25519", "/", "handshake", count=1000, quick=400, unit="handshake"),
    Scenario("handshake-hybrid", "Full handshake, X25519MLKEM768", "/", "handshake", variant="hybrid", count=1000, quick=400, unit="handshake", slow=True),
    Scenario("handshake-resumed", "Resumed handshake, X25519", "/", "handshake", variant="resume", count=1000, quick=400, unit="handshake", slow=True),
    Scenario("idle-1000", "1,000 idle TLS connections, h2, one request each before", "/v2/users", "idle", count=1000, unit="connection"),
    Scenario("idle-10000", "10,000 idle TLS connections, h2", "/v2/users", "idle", count=9800, unit="connection", slow=True),
    Scenario("cached-5k", "5 KB from the proxy's cache, not encoded, 10 × 32", "/ui/console/small.js", headers=BROWSER[1:2],
             connections=10, streams=32, answer="small.js", cached=True),
    Scenario("cached-350k", "350 KB of brotli from the proxy's cache, 4 × 4", "/ui/console/large.js",
             headers=(*BROWSER[1:2], ("accept-encoding", "gzip, deflate, br")), connections=4, streams=4, answer="large.js",
             cached=True, count=4000, quick=1500, slow=True),
    Scenario("start", "Start to first answer, one certificate", "/v2/users", "start", unit="start"),
    Scenario("scale-1", "gRPC unary, 10 × 32, one worker on two shared cores", SERVICE + "/Unary", headers=GRPC, body="message",
             connections=10, streams=32, grpc=True, answer=MESSAGE, shared=True, slow=True),
    Scenario("scale-2", "gRPC unary, 10 × 32, two workers on two shared cores", SERVICE + "/Unary", headers=GRPC, body="message",
             connections=10, streams=32, grpc=True, answer=MESSAGE, shared=True, workers=2, slow=True),
]
