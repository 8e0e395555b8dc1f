"""Processes: started on one core, counted by what the scheduler says they ran."""

import os
import re
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

PROXY_CORE, LOAD_CORE = 0, 1


def free_port():
    """A port that the system says is free. Ours is not the only run that asks: start checks."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# Open files that ten thousand connections need on either side of a proxy.
FILES = 32768


def pinned(core):
    """What a child does before it is one: a session of its own (to Linux' scheduler a group of its own,
    so that proxy and load do not compete for one share of a busy machine), its core, room for connections."""
    def before():
        os.setsid()
        try:
            # Before what else runs here, where we may: a proxy that is starved works in other batches.
            Path("/proc/self/autogroup").write_text("-10")
        except OSError:
            pass
        os.sched_setaffinity(0, core if isinstance(core, set) else {core})
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, max(hard, FILES)))
        except (OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return before


class Process:
    """A program and its children, in a group of its own."""

    def __init__(self, command, core, log, environment=None):
        self.log = Path(log)
        with open(log, "ab") as out:
            self.started_ns = time.time_ns()
            self.child = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                preexec_fn=pinned(core), env={**os.environ, **(environment or {})})

    def tree(self):
        """The pids of the program and all that descend from it."""
        found, look = [], [self.child.pid]
        while look:
            pid = look.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    look += [int(child) for child in children.read_text().split()]
                except OSError:
                    continue
        return found

    def threads(self):
        for pid in self.tree():
            yield from Path(f"/proc/{pid}/task").glob("[0-9]*")

    def ran(self):
        """Nanoseconds on a processor, of all threads of the tree: {thread: ns}."""
        ran = {}
        for thread in self.threads():
            try:
                ran[thread.name] = int((thread / "schedstat").read_text().split()[0])
            except OSError:
                continue
        return ran

    def memory(self, field="VmHWM"):
        """KB of the tree; VmHWM is the most it was, VmRSS what it is. RssAnon + RssShmem for "own",
        which leaves out the program's own text and what forks share of it."""
        names = ("RssAnon", "RssShmem") if field == "own" else (field,)
        total = 0
        for pid in self.tree():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            for name in names:
                found = re.search(rf"^{name}:\s+(\d+) kB", status, re.M)
                total += int(found.group(1)) if found else 0
        return total

    def alive(self):
        return self.child.poll() is None

    def tail(self):
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def stop(self):
        """Ends the tree: it is all ours, and has nothing left to lose."""
        pids = self.tree()
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        # What has made itself a session of its own.
        for pid in pids[1:]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.child.wait(10)


def spent(before, after):
    """Nanoseconds between two readings of `ran`; a thread that ended in between is not seen."""
    return sum(ns - before.get(thread, 0) for thread, ns in after.items())


class Strace:
    """Counts the system calls of a tree between start and stop."""

    def __init__(self, program, process, folder):
        self.out = Path(folder) / "strace"
        attach = [part for pid in process.tree() for part in ("-p", str(pid))]
        self.log = open(Path(folder) / "strace.log", "w+")
        self.child = subprocess.Popen([program, "-f", "-c", "-o", str(self.out), *attach], stdout=self.log,
                                      stderr=self.log, preexec_fn=pinned(LOAD_CORE))
        until = time.time() + 10
        while time.time() < until and "attached" not in Path(self.log.name).read_text():
            time.sleep(0.02)
        time.sleep(0.1)

    def stop(self):
        """Calls in all, and by name."""
        self.child.send_signal(signal.SIGINT)
        self.child.wait(30)
        self.log.close()
        names = {}
        for line in self.out.read_text().splitlines():
            parts = line.split()
            if len(parts) >= 5 and parts[0].replace(".", "").isdigit() and parts[-1] != "total":
                names[parts[-1]] = int(parts[3])
        return sum(names.values()), names
