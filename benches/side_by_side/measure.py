"""One run: a fresh upstream, a fresh proxy, the answer checked, a warm-up, then the count."""

import json
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from . import install, load
from .load import Held, Wrong
from .process import LOAD_CORE, PROXY_CORE, Process, Strace, free_port, spent


@dataclass
class Run:
    """What all runs of one call share."""

    folder: Path
    ends: Path
    quick: bool
    # `upstream` or `goserver`, of the ends.
    upstream: str = "upstream"


# Seconds that a load should take with --quick; the slow ones are asked less often.
QUICK_SECONDS = 0.7


class Pair:
    """An upstream and a proxy before it."""

    def __init__(self, run, peer, workers=1, cores=PROXY_CORE, ready=True, cached=False):
        self.run, self.proxy, self.cached = run, None, cached
        self.back, self.front = free_port(), free_port()
        assets = {"ENDS_ASSETS": str(run.folder / "assets"), "GOMAXPROCS": "2"}
        self.upstream = Process([run.ends, run.upstream, f"127.0.0.1:{self.back}"], LOAD_CORE, run.folder / "log" / "upstream.log", assets)
        try:
            self.begin(peer, workers, cores)
            if ready:
                self.first_answer()
        except BaseException:
            self.__exit__()
            raise

    def begin(self, peer, workers, cores):
        """Waits for the upstream, then starts the proxy."""
        for _ in range(500):
            try:
                self.stats()
                break
            except OSError:
                time.sleep(0.01)
        run = self.run
        log = run.folder / "log" / f"{peer.name.replace('/', '_')}.log"
        log.unlink(missing_ok=True)
        command, environment = peer.start(run, self.front, self.back, workers, self.cached)
        self.proxy = Process(command, cores, log, environment)

    def first_answer(self):
        """Waits until the proxy answers; milliseconds since it was started."""
        try:
            ask = load.ends("ready", self.front, self.run, "-path", "/v2/users", "-since", str(self.proxy.started_ns))
            out = load.while_alive(ask, self.proxy.alive)
        except Wrong as wrong:
            raise Wrong(f"does not start: {wrong}\n{self.proxy.tail()}") from wrong
        return json.loads(out)["ms"]

    def stats(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.back}/-/stats", timeout=5) as answer:
            return json.load(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.proxy:
            self.proxy.stop()
        self.upstream.stop()


def generate(scenario):
    return load.pingpong if scenario.method == "pingpong" else load.h2load


def checked(scenario, pair):
    """The answer, if it is right; with what the proxy says where it has gone."""
    try:
        return load.check(scenario, pair.front, pair.run)
    except Wrong as wrong:
        time.sleep(0.2)
        raise Wrong(f"{wrong}\n{pair.proxy.tail()}" if not pair.proxy.alive() else str(wrong)) from wrong


def loaded(run, peer, scenario):
    """CPU of requests that h2load or the ping-pong client sends."""
    count = scenario.quick if run.quick else scenario.count
    cores = {PROXY_CORE, LOAD_CORE} if scenario.shared else PROXY_CORE
    with Pair(run, peer, scenario.workers, cores, cached=scenario.cached) as pair:
        answer = checked(scenario, pair)
        if "cached-350k" == scenario.name and answer["headers"].get("content-encoding") != "br":
            raise Wrong("the answer is not encoded with brotli")
        warm = generate(scenario)(scenario, pair.front, run, max(scenario.connections, scenario.streams, count // 10))
        if run.quick and count > 100:
            at_once = scenario.connections * scenario.streams
            count = min(count, max(2 * at_once, int(QUICK_SECONDS * warm["count"] / warm["seconds"])))
        if scenario.cached:
            calm(pair.proxy)
        before, upstream, asked = pair.proxy.ran(), pair.upstream.ran(), pair.stats()
        seen = generate(scenario)(scenario, pair.front, run, count)
        cpu, behind = spent(before, pair.proxy.ran()), spent(upstream, pair.upstream.ran())
        if not pair.proxy.alive():
            raise Wrong("it has ended: " + pair.proxy.tail())
        stats = pair.stats()
        went = stats["scripts"] - asked["scripts"]
        if scenario.cached and went > 2:
            raise Wrong(f"not from its cache: {went} of {count} requests went upstream")
        units = seen["count"] * scenario.units
        # What is posted comes back short: only the way down has records to fill.
        full = answer["full_records"] / answer["records"] if scenario.name == "download" else None
        return {
            "full_records": full, "cpu_us": cpu / 1000 / units, "per_s": units / seen["seconds"], "p50_us": seen["p50_us"],
            "p99_us": seen["p99_us"], "rss_kb": pair.proxy.memory(), "busy": cpu / 1e9 / seen["seconds"],
            "upstream_us": behind / 1000 / units, "upstream_connections": stats["connections"] - 1,
            "upstream_streams": stats["max_streams"],
        }


def calm(process):
    """Waits until nothing is done behind the answers any more, such as encoding better; half a minute at most."""
    for _ in range(60):
        before = process.ran()
        time.sleep(0.5)
        if spent(before, process.ran()) < 5_000_000:
            return


def syscalls(run, peer, scenario):
    """System calls of one request, in a short run of its own."""
    strace = install.find("strace")
    if not strace:
        return None
    at_once = scenario.connections * scenario.streams
    count = min(scenario.quick, max(2000, 20 * at_once))
    with Pair(run, peer, cached=scenario.cached) as pair:
        generate(scenario)(scenario, pair.front, run, count)
        if scenario.cached:
            calm(pair.proxy)
        counter = Strace(strace, pair.proxy, run.folder / "log")
        seen = generate(scenario)(scenario, pair.front, run, count)
        total, names = counter.stop()
        units = seen["count"] * scenario.units
        most = sorted(names.items(), key=lambda pair: -pair[1])[:6]
        return {"per_request": total / units, "most": {name: round(n / units, 3) for name, n in most}}


def handshakes(run, peer, scenario):
    """CPU of a connection up to SETTINGS, full or resumed."""
    count = scenario.quick if run.quick else scenario.count
    more = {"hybrid": ["-hybrid"], "resume": ["-resume"]}.get(scenario.variant, [])
    with Pair(run, peer) as pair:
        Held(load.ends("handshake", pair.front, run, "-count", str(count // 10), *more)).finish()
        held = Held(load.ends("handshake", pair.front, run, "-count", str(count), *more))
        before = pair.proxy.ran()
        seen = json.loads(held.finish().splitlines()[-1])
        time.sleep(0.02)
        cpu = spent(before, pair.proxy.ran())
        return {"cpu_us": cpu / 1000 / count, "per_s": count / seen["seconds"], "p50_us": seen["p50_us"],
                "p99_us": seen["p99_us"], "rss_kb": pair.proxy.memory(), "busy": cpu / 1e9 / seen["seconds"]}


def idle(run, peer, scenario):
    """KB that one more idle connection holds, over those of the first fifty."""
    with Pair(run, peer) as pair:
        first = Held(load.ends("idle", pair.front, run, "-path", "/v2/users", "-count", "50"))
        before = settled(pair.proxy)
        held = Held(load.ends("idle", pair.front, run, "-path", "/v2/users", "-count", str(scenario.count)))
        after = settled(pair.proxy)
        if not pair.proxy.alive():
            raise Wrong("it has ended: " + pair.proxy.tail())
        rss = pair.proxy.memory("VmRSS")
        held.finish()
        first.finish()
        return {"kb": (after - before) / scenario.count, "rss_kb": rss}


def settled(process):
    """Its own memory once that no longer changes; at most five seconds."""
    last, same = -1, 0
    for _ in range(50):
        now = process.memory("own")
        same = same + 1 if now == last else 0
        if same == 10:
            break
        last = now
        time.sleep(0.1)
    return last


def start(run, peer, _scenario):
    """Milliseconds from exec to the first answer's last byte, one certificate."""
    with Pair(run, peer, ready=False) as pair:
        return {"ms": pair.first_answer(), "rss_kb": pair.proxy.memory()}


METHODS = {"h2load": loaded, "pingpong": loaded, "handshake": handshakes, "idle": idle, "start": start}
# What is compared, by method: key, title.
KEYS = {"h2load": ("cpu_us", "CPU µs"), "pingpong": ("cpu_us", "CPU µs"), "handshake": ("cpu_us", "CPU µs"),
        "idle": ("kb", "KB each"), "start": ("ms", "ms")}
