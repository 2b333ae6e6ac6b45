"""The agent at its whole job, as the chart's security profiles run it, without a cluster.

For each profile the chart is rendered, and what its DaemonSet says is done by hand: a root file system that holds the
program and nothing else, read-only; the node's folders mounted as its mounts say; its user, its group, its capabilities,
no new privileges; its arguments and variables. The logs are root's, mode 0640, as containerd writes them. Left to a real
cluster: the seccomp filter of the container runtime, AppArmor, SELinux.
"""

import ctypes
import gzip
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

TESTS = Path(__file__).resolve().parent
DEMO = TESTS.parents[1] / "tests/corpus/demo"
# Another database may be given, to measure with it.
DATABASE = os.environ.get("WEIR_GEOIP_DB") or str(DEMO / "country.mmdb")
CAPABILITIES = {"DAC_READ_SEARCH": 2}
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 24, 47, 4
CAPABILITY_MAX = 63
UID = "585292d4-f356-4406-a41a-4d8a2e98000"
CONTROLLER = f"ingress-nginx_ingress-nginx-controller-x8k2p_{UID}1/controller/0.log"
SHOP = f"shop_web-0_{UID}2/app/0.log"
CLOSED = f"shop_odd-0_{UID}3/app/0.log"
CLOSED_LINES = 7


# ------------------------------------------------------------------------------ inside: what the container runtime does


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def bind(source, target, read_only):
    """A file or a folder of the node at a place in the new root."""
    if Path(source).is_dir():
        Path(target).mkdir(parents=True, exist_ok=True)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    mount("--bind", str(source), str(target))
    if read_only:
        mount("-o", "remount,bind,ro", str(target))


def become(spec):
    """Builds the root, gives all up, and becomes the agent. In namespaces of its own for mounts and processes."""
    libc = ctypes.CDLL(None, use_errno=True)

    def prctl(*arguments):
        if libc.prctl(*arguments, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {arguments}")

    root = spec["root"]
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root)
    for source, target, read_only in spec["mounts"]:
        bind(source, root + target, read_only)
    os.mkdir(root + "/proc")
    mount("-t", "proc", "proc", root + "/proc")
    mount("-o", "remount,ro", root)
    os.chroot(root)
    os.chdir("/")
    kept = {CAPABILITIES[name] for name in spec["capabilities"]}
    for capability in range(CAPABILITY_MAX + 1):
        if capability not in kept and libc.prctl(23, capability, 0, 0, 0) >= 0:
            prctl(PR_CAPBSET_DROP, capability)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    os.setgroups([spec["group"]])
    os.setresgid(spec["group"], spec["group"], spec["group"])
    os.setresuid(spec["user"], spec["user"], spec["user"])
    os.execve("/weir", ["/weir", *spec["arguments"]], spec["environment"])


# ------------------------------------------------------------------------------------------ outside: the node, and Loki


class Loki(http.server.BaseHTTPRequestHandler):
    """Takes everything."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def libraries(binary):
    """What a binary of glibc needs beside itself; a static one needs nothing."""
    said = subprocess.run(["ldd", binary], capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(0x", said)


class Node:
    """The folders of a node, and the agent's pod on it."""

    def __init__(self, profile, folder, loki_port):
        import chart

        self.folder, self.port, self.profile = Path(folder), free_port(), profile
        for name in ("root", "config", "state", "pods"):
            (self.folder / name).mkdir()
        found = chart.objects(
            {
                "securityProfile": profile,
                "persistence": {"hostPath": {"type": "Directory"}},
                "serverPort": self.port,
                "identity": "node",
                "loki": {"url": f"http://127.0.0.1:{loki_port}/loki/api/v1/push"},
            }
        )
        pod, agent = chart.pod(found), chart.agent(found)
        (self.folder / "config/weir.yaml").write_text(chart.config(found))
        context = {**pod["securityContext"], **agent["securityContext"]}
        assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
        assert context["capabilities"]["drop"] == ["ALL"]
        fields = {"spec.nodeName": "node-a", "metadata.name": "weir-x"}
        environment = {
            e["name"]: e["value"] if "value" in e else fields[e["valueFrom"]["fieldRef"]["fieldPath"]]
            for e in agent["env"]
        }
        binary = str(Path(os.environ["WEIR_BIN"]).resolve())
        places = {"config": "config", "state": "state", "pods": "pods"}
        mounts = [
            (str(self.folder / places[m["name"]]), m["mountPath"], m.get("readOnly", False))
            for m in agent["volumeMounts"]
        ]
        mounts += [(binary, "/weir", True), (DATABASE, environment["WEIR_GEOIP_DB"], True)]
        mounts += [(library, library, True) for library in libraries(binary)]
        self.user = context["runAsUser"]
        os.chown(self.folder / "state", self.user, 0)
        self.spec = {
            "root": str(self.folder / "root"),
            "mounts": mounts,
            "user": self.user,
            "group": context["runAsGroup"],
            "capabilities": context["capabilities"].get("add", []),
            "arguments": agent["args"],
            "environment": {**environment, "KUBERNETES_SERVICE_HOST": "10.96.0.1"},
        }

    def write(self, name, data, mode=0o640):
        path = self.folder / "pods" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab") as file:
            file.write(data)
        path.chmod(mode)

    def lines(self, count):
        self.write(SHOP, b"".join(b"2026-11-21T02:00:00.%09dZ stdout F line\n" % n for n in range(count)))

    def start(self):
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        if os.getuid() != 0:
            command.append("--map-root-user")
        command += [sys.executable, "-B", __file__, "--become", json.dumps(self.spec)]
        with open(self.folder / "agent.log", "ab") as log:
            self.unshare = subprocess.Popen(command, stdout=log, stderr=log)

    def agent(self):
        """The process id of the agent."""
        children = Path(f"/proc/{self.unshare.pid}/task/{self.unshare.pid}/children").read_text().split()
        return int(children[0])

    def stop(self):
        """Ends it as the kubelet does; its exit code."""
        os.kill(self.agent(), signal.SIGTERM)
        return self.unshare.wait(60)

    def get(self, page):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{page}", timeout=10) as answer:
            return answer.read().decode()

    def metrics(self):
        """Series of /metrics: name with its labels, to its value."""
        text = [line for line in self.get("/metrics").splitlines() if not line.startswith("#")]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text}

    def eventually(self, what, wanted, seconds=60):
        """Waits until a figure is what it should be."""
        until = time.monotonic() + seconds
        while True:
            try:
                seen = what()
            except (urllib.error.URLError, ConnectionError, KeyError) as error:
                seen = error
            if seen == wanted:
                return
            if time.monotonic() > until or self.unshare.poll() is not None:
                said = (self.folder / "agent.log").read_text()[-3000:]
                raise AssertionError(f"{self.profile}: {seen!r} instead of {wanted!r}; the agent said:\n{said}")
            time.sleep(0.1)


def total(metrics, name, label=""):
    return sum(value for series, value in metrics.items() if series.split("{")[0] == name and label in series)


class Profiles(unittest.TestCase):
    def setUp(self):
        loki = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Loki)
        threading.Thread(target=loki.serve_forever, daemon=True).start()
        self.addCleanup(loki.server_close)
        self.addCleanup(loki.shutdown)
        folder = tempfile.mkdtemp(prefix="weir-hardened-")
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        self.folder, self.loki_port = folder, loki.server_port

    def kill(self, node):
        if node.unshare.poll() is None:
            node.unshare.kill()
            node.unshare.wait()

    def test_strict_does_the_whole_job_as_root_without_capabilities(self):
        self.whole_job("strict", unreadable=1)

    @unittest.skipIf(os.getuid() != 0, "one's own user namespace has no other user")
    def test_non_root_does_the_whole_job_where_group_0_may_read(self):
        self.whole_job("nonRoot", unreadable=1)

    def test_read_all_reads_what_root_may_not(self):
        self.whole_job("readAll", unreadable=0)

    def whole_job(self, profile, unreadable):
        node = Node(profile, self.folder, self.loki_port)
        access = gzip.decompress((DEMO / "controller-d1.cri.gz").read_bytes())
        truth = json.loads((DEMO / "truth.json").read_text())["runs"]["D1"]
        node.write(CONTROLLER, access)
        node.lines(100)
        # Nobody may read it but those whom permissions do not stop: it shows that capabilities are really gone.
        node.write(CLOSED, b"2026-11-21T02:00:00.000000001Z stdout F line\n" * CLOSED_LINES, mode=0)
        ingress = access.count(b"\n")
        pods = ingress + 100 + (CLOSED_LINES if unreadable == 0 else 0)

        node.start()
        self.addCleanup(self.kill, node)
        node.eventually(lambda: total(node.metrics(), "weir_lines_read_total", 'job="pods"'), pods)
        self.assertEqual(node.get("/ready").strip(), "Ready")
        node.eventually(lambda: total(node.metrics(), "weir_http_requests_total"), truth["access"]["total"])
        seen = node.metrics()
        self.assertEqual(total(seen, "weir_lines_read_total", 'job="ingress-nginx"'), ingress)
        self.assertEqual(total(seen, "weir_http_client_requests_total"), truth["access"]["total"])
        self.assertEqual(seen["weir_files_unreadable"], unreadable)
        self.has_given_all_up(node)
        node.eventually(lambda: node.metrics()["weir_state_durable"], 1)
        node.eventually(lambda: total(node.metrics(), "weir_geoip_database_loaded"), 1)
        node.eventually(lambda: total(node.metrics(), "weir_client_pending_entries"), 0)

        # Its end, lines meanwhile, and the next run: nothing is read twice, nothing is missed, counters go on.
        node.lines(50)
        self.assertEqual(node.stop(), 0, (Path(self.folder) / "agent.log").read_text()[-2000:])
        node.lines(25)
        state = list((node.folder / "state").rglob("*"))
        self.assertTrue(state and all(path.stat().st_uid == node.user for path in state), state)
        node.start()
        node.eventually(lambda: total(node.metrics(), "weir_lines_read_total", 'job="pods"'), pods + 75)
        seen = node.metrics()
        self.assertEqual(total(seen, "weir_http_requests_total"), truth["access"]["total"])
        self.assertEqual(total(seen, "weir_breaks_total"), 0)
        node.eventually(lambda: total(node.metrics(), "weir_client_pending_entries"), 0)
        seen = node.metrics()
        sent = total(seen, "weir_client_acknowledged_entries_total")
        self.assertEqual(sent, total(seen, "weir_lines_counted_total", 'job="pods"'))
        read, resident = int(total(seen, "weir_lines_read_total")), int(seen["process_resident_memory_bytes"]) >> 20
        print(f"{profile}: {read} lines read, {int(sent)} delivered, {resident} MiB resident")
        self.assertLess(seen["process_resident_memory_bytes"], 128 << 20)
        self.assertEqual(node.stop(), 0)

    def has_given_all_up(self, node):
        """The kernel's own word on what the agent may do."""
        process = Path(f"/proc/{node.agent()}")
        status = dict(re.findall(r"^(\w+):\s*(.*)$", (process / "status").read_text(), re.M))
        kept = sum(1 << CAPABILITIES[name] for name in node.spec["capabilities"])
        for which in ("CapEff", "CapPrm", "CapBnd"):
            self.assertEqual(int(status[which], 16), kept, which)
        for which in ("CapInh", "CapAmb"):
            self.assertEqual(int(status[which], 16), 0, which)
        self.assertEqual(status["NoNewPrivs"], "1")
        if os.getuid() == 0:
            self.assertEqual(set(status["Uid"].split()), {str(node.user)})
        mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
        writable = {fields[4] for fields in mounts if "rw" in fields[5].split(",") and fields[4] != "/proc"}
        root = next(fields for fields in mounts if fields[4] == "/")
        self.assertIn("ro", root[fields_of_super_block(root)].split(","))
        self.assertEqual(writable - {"/"}, {"/var/lib/weir"})


def fields_of_super_block(fields):
    """Where the options of the file system itself stand in a line of mountinfo."""
    return fields.index("-") + 3


def can_build_a_pod():
    command = ["unshare", "--mount", "--pid", "--fork", *([] if os.getuid() == 0 else ["--map-root-user"])]
    try:
        return subprocess.run([*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    if sys.argv[1:2] == ["--become"]:
        become(json.loads(sys.argv[2]))
    missing = None
    if not os.environ.get("WEIR_BIN"):
        missing = "WEIR_BIN names no binary"
    elif not can_build_a_pod():
        missing = "no namespaces for mounts and processes (root, or user namespaces)"
    if missing:
        print(f"left out: the agent as the security profiles run it: {missing}")
        sys.exit(1 if os.environ.get("WEIR_ALL") else 0)
    unittest.main()
