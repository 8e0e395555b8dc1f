"""The clients: h2load where it can, `ends` where it cannot. Each returns what it has seen."""

import json
import re
import subprocess
import threading
import time

from . import install
from .process import LOAD_CORE, pinned


class Wrong(Exception):
    """An answer that is not right, or a load that did not end well: nothing is timed."""


def call(command, limit=300):
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=limit,
                              preexec_fn=pinned(LOAD_CORE), stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as late:
        raise Wrong(f"no end after {limit} s: {' '.join(map(str, command[:3]))}") from late
    if done.returncode:
        raise Wrong((done.stderr or done.stdout).strip()[-600:])
    return done.stdout


def while_alive(command, alive, limit=60):
    """The same, given up when the server is gone."""
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             preexec_fn=pinned(LOAD_CORE), stdin=subprocess.DEVNULL)
    until = time.time() + limit
    while True:
        try:
            out, error = child.communicate(timeout=0.2)
            break
        except subprocess.TimeoutExpired:
            if not alive() or time.time() > until:
                child.kill()
    if child.returncode:
        raise Wrong(error.strip()[-600:])
    return out


def ends(kind, port, run, *more):
    return [run.ends, kind, "-address", f"localhost:{port}", "-ca", run.folder / "crt", *more]


def headers(pairs, flag):
    return [part for name, value in pairs for part in (flag, f"{name}: {value}")]


def check(scenario, port, run):
    """One request with a client that tells everything, before anything is timed."""
    more = ["-http1"] if scenario.http1 else []
    if scenario.body:
        more += ["-body", run.folder / scenario.body]
    out = call(ends("check", port, run, "-path", scenario.path, *headers(scenario.headers, "-header"), *more), 90)
    answer = json.loads(out)
    protocol = "HTTP/1.1" if scenario.http1 else "HTTP/2.0"
    expected = {"status": 200, "protocol": protocol, "tls": "TLS 1.3", "cipher": "TLS_AES_128_GCM_SHA256", **scenario.expect(run)}
    for name, value in expected.items():
        if answer.get(name) != value:
            raise Wrong(f"{name} is {answer.get(name)!r}, not {value!r} ({scenario.path})")
    if scenario.grpc and answer["trailers"].get("grpc-status") != "0":
        raise Wrong(f"trailers are {answer['trailers']}, not grpc-status 0")
    return answer


def h2load(scenario, port, run, count):
    """`count` requests; latencies from its log."""
    log = run.folder / "log" / "h2load.tsv"
    log.unlink(missing_ok=True)
    command = [install.find("h2load"), "-t1", f"-n{count}", f"-c{scenario.connections}", f"-m{scenario.streams}",
               "--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519", f"--log-file={log}", *headers(scenario.headers, "-H")]
    if scenario.body:
        command += ["-d", run.folder / scenario.body]
    if scenario.rate:
        command += [f"--rps={scenario.rate // scenario.connections}"]
    if scenario.http1:
        command += ["--h1"]
    out = call([*command, f"https://localhost:{port}{scenario.path}"])
    if f" {count} succeeded, 0 failed, 0 errored, 0 timeout" not in out:
        raise Wrong(" ".join(re.findall(r"(?:requests|status codes): .*", out)) or out[-400:])
    waits = sorted(int(line.rsplit("\t", 1)[1]) for line in log.read_text().splitlines())
    return {"count": count, "seconds": seconds(out), "p50_us": waits[len(waits) // 2], "p99_us": waits[len(waits) * 99 // 100]}


def seconds(out):
    value, unit = re.search(r"finished in ([\d.]+)(us|ms|s|m)", out).groups()
    return float(value) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[unit]


def pingpong(scenario, port, run, count):
    """`count` messages over the scenario's streams, one at a time on each."""
    each = max(1, count // scenario.streams)
    out = call(ends("pingpong", port, run, "-path", scenario.path, *headers(scenario.headers, "-header"),
                    "-streams", str(scenario.streams), "-messages", str(each)))
    return json.loads(out)


class Held:
    """A client that says when it stands and goes on when it is told: idle, handshake."""

    def __init__(self, command, limit=300):
        self.child = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True, preexec_fn=pinned(LOAD_CORE))
        self.clock = threading.Timer(limit, self.child.kill)
        self.clock.start()
        self.first = self.child.stdout.readline()
        if not self.first:
            raise Wrong(self.finish(False))

    def finish(self, go=True):
        out, error = self.child.communicate("go\n" if go else None)
        self.clock.cancel()
        if go and self.child.returncode:
            raise Wrong(error.strip()[-600:])
        return out if go else error.strip()[-600:]
