"""The table and the JSON beside it."""

import json
import platform
import statistics
from pathlib import Path

from .measure import KEYS


def machine():
    cpu = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), "?")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    return {"cpu": cpu, "cores": len(list(Path("/sys/devices/system/cpu").glob("cpu[0-9]*"))), "memory_mb": memory,
            "kernel": platform.release(), "load": Path("/proc/loadavg").read_text().split()[0]}


def median(rounds, key):
    values = [r[key] for r in rounds if key in r]
    return statistics.median(values) if values else None


def digits(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def rows(scenario, results, peers):
    """One row for each peer: name, cells, or why there is none."""
    key = KEYS[scenario.method][0]
    medians = {p.name: median(results[p.name]["rounds"], key) for p in peers if results[p.name]["rounds"]}
    # The best of the others: Ravelin is not compared with itself.
    others = [m for name, m in medians.items() if not name.startswith("ravelin")]
    best = min(others, default=None)
    for peer in peers:
        found = results[peer.name]
        if not found["rounds"]:
            yield peer.name, None, found.get("why", "not measured")
            continue
        rounds = found["rounds"]
        values = sorted(r[key] for r in rounds)
        cells = [digits(medians[peer.name]), f"{digits(values[0])}–{digits(values[-1])}",
                 f"{medians[peer.name] / best:.2f}" if best else "–"]
        if key == "cpu_us":
            calls = found.get("syscalls")
            cells += [digits(median(rounds, "per_s")), digits(median(rounds, "p50_us")), digits(median(rounds, "p99_us")),
                      digits(calls["per_request"]) if calls else "–",
                      f"{100 * median(rounds, 'busy'):.0f} %"]
        cells.append(f"{median(rounds, 'rss_kb') / 1024:.1f}")
        yield peer.name, cells, found.get("why", "")


def table(scenario, results, peers):
    """Markdown of one scenario."""
    key, title = KEYS[scenario.method]
    head = [f"{title}/{scenario.unit}" if key == "cpu_us" else title, "spread", "÷ best peer"]
    if key == "cpu_us":
        head += [f"{scenario.unit}s/s", "p50 µs", "p99 µs", "syscalls", "busy"]
    head.append("peak MB" if scenario.method != "idle" else "RSS MB")
    lines = [f"\n**{scenario.title}** (`{scenario.name}`)\n", "| | " + " | ".join(head) + " |", "|---|" + "---:|" * len(head)]
    for name, cells, why in rows(scenario, results, peers):
        if cells is None:
            lines.append(f"| {name} | {why.splitlines()[0] if why else ''} |" + " |" * (len(head) - 1))
        else:
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for peer in peers:
        calls = results[peer.name].get("syscalls")
        if calls and peer.name.startswith("ravelin"):
            most = ", ".join(f"{name} {number:.2f}" for name, number in calls["most"].items())
            lines.append(f"\n{peer.name}'s system calls: {most}.")
        records = [r["full_records"] for r in results[peer.name]["rounds"] if r.get("full_records") is not None]
        if records:
            lines.append(f"\n{peer.name}: {100 * statistics.median(records):.1f} % of TLS records full.")
    return "\n".join(lines)


def write(path, facts, scenarios, all_results):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**facts, "scenarios": {
        s.name: {"title": s.title, "results": all_results[s.name]} for s in scenarios if s.name in all_results}}, indent=1))
