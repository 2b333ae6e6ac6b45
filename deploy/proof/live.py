"""The run itself: every part is started, traffic comes, and what came out is gathered."""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field

import rules
import upstream
from alertmanager import Alertmanager
from controller import Controller
from kubelet import Container
from loki import Loki
from programs import Program, comes, eventually, free_port
from prometheus import Prometheus
from ruler import Ruler
from telegram import Telegram
from traffic import Plan, Traffic

PODS = [
    "ingress-nginx_ingress-nginx-controller-6c4f9b7d5-x8k2p_585292d4-f356-4406-a41a-4d8a2e980008",
    "ingress-nginx_ingress-nginx-controller-6c4f9b7d5-w2m4q_bd5d8364-d042-4471-a625-553962f4ad7f",
]
SHOP_POD = "shop_web-0_0d3e6f52-5f3e-4c7b-9d0f-2f6a1c0b7a11"
# A node's is 10 MiB; this much comes in some seconds here.
ROTATE_BYTES = 600_000
# Newborn series are shown as 0 for so long: three scrapes. On a node weir finds it out by itself, from 20 s on.
BIRTH_HOLD = "3s"
ARRIVAL_SECONDS = 60


@dataclass
class Run:
    """What is running, and what it left."""

    began: float = 0.0
    ended: float = 0.0
    prometheus: object = None
    traffic: object = None
    telegram: object = None
    loki: object = None
    groups: list = field(default_factory=list)
    ruler: object = None
    containers: list = field(default_factory=list)
    # Gathered when the traffic has ended.
    counted: float = 0.0
    states: list = field(default_factory=list)
    equations: list = field(default_factory=list)
    answers: dict = field(default_factory=dict)

    def lines(self):
        return sum(container.count() for container in self.containers)

    def rotations(self):
        return sum(container.rotations for container in self.containers)

    @property
    def alerts(self):
        """Every alert, of Prometheus and of Loki's ruler."""
        found = [rule["alert"] for group in self.groups for rule in group["rules"] if "alert" in rule]
        return list(dict.fromkeys(found + [rule["alert"] for rule in self.ruler.rules]))


class Agent:
    """weir with the shipped configuration, and one line more: newborn series are held for three scrapes only."""

    def __init__(self, repository, folder, binary, pods, loki_url):
        self.port = free_port()
        config = folder / "weir.yaml"
        shipped = (repository / "config/kubernetes.yaml").read_text()
        config.write_text(shipped + f"\nmetrics: {{birth_hold: {BIRTH_HOLD}}}\n")
        environment = {
            **os.environ,
            "WEIR_LOG_ROOT": str(pods),
            "WEIR_STATE": str(folder / "weir-state"),
            "WEIR_GEOIP_DB": str(repository / "tests/corpus/demo/country.mmdb"),
            "NODE_NAME": "node-a",
            "LOKI_URL": loki_url,
        }
        command = [binary, f"-config.file={config}", "-config.expand-env"]
        command += ["-server.http-listen-address=127.0.0.1", f"-server.http-listen-port={self.port}"]
        self.program = Program("weir", command, folder, environment)
        self.program.until_ready(f"http://127.0.0.1:{self.port}/ready")

    def stop(self):
        self.program.stop()


def start(repository, folder, binary, stack, say):
    """Starts everything; `stack` ends it, the last first."""

    def until_end(part):
        stack.callback(part.stop)
        return part

    run, pods = Run(), folder / "pods"
    for name in (*PODS, SHOP_POD):
        container = Container(pods, name, "app" if name == SHOP_POD else "controller", ROTATE_BYTES)
        run.containers.append(container)
    application = until_end(upstream.start(run.containers[-1]))
    controllers = [
        until_end(Controller(repository, folder, f"controller-{n}", run.containers[n], application.server_port))
        for n in range(2)
    ]
    for controller in controllers:
        eventually("nginx", controller.is_open)
    say(f"two controllers: nginx on ports {', '.join(str(one.port) for one in controllers)}")

    run.loki, run.telegram = until_end(Loki()), until_end(Telegram())
    agent = until_end(Agent(repository, folder, binary, pods, run.loki.url))
    alertmanager = until_end(Alertmanager(folder, repository / "deploy/alertmanager", run.telegram.url))
    paths, run.groups = rules.write_shorter(repository / "deploy/rules", folder / "rules")
    check_rules(paths)
    run.ruler = Ruler(repository / "deploy/rules/loki")
    targets = {
        f"127.0.0.1:{agent.port}": {
            "job": "weir",
            "namespace": "weir",
            "container": "weir",
            "endpoint": "http-metrics",
            "instance": "node-a",
        },
    }
    run.prometheus = until_end(Prometheus(folder, paths, alertmanager.port, targets))
    say(f"weir, Prometheus with {len(paths)} files of rules, Alertmanager, a Loki and a Telegram of the proof's own")
    # One scrape without any request, so that every counter is seen to begin at 0.
    eventually("the first scrape", lambda: run.prometheus.value("weir_scrapes_total") > 1)

    run.began = time.time()
    run.traffic = Traffic(Plan(repository), [controller.port for controller in controllers])
    return run, controllers


def check_rules(paths):
    """The shortened copies are rules, too."""
    checked = subprocess.run(["promtool", "check", "rules", *map(str, paths)], capture_output=True, text=True)
    if checked.returncode != 0:
        raise SystemExit(f"promtool does not take the shortened rules:\n{checked.stdout}{checked.stderr}")


def follow(run, controllers, say):
    """Waits for the traffic's end, and until every line has arrived everywhere."""
    run.traffic.wait()
    say(f"{run.traffic.made} requests in {time.time() - run.began:.0f} s, the latest {run.traffic.late:.1f} s late")
    made = run.traffic.made
    # What does not come in time is missing: the checks say what.
    comes(lambda: run.prometheus.value("sum(weir_http_requests_total)") >= made, ARRIVAL_SECONDS)
    run.ended = time.time()
    for controller in controllers:
        controller.stop()
    lines = run.lines()
    comes(lambda: run.loki.count() >= lines, ARRIVAL_SECONDS)


def keep(folder, into):
    """What the programs said, and the pods' logs, for whoever looks for the cause of a failure."""
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(folder / "pods", into / "pods")
    for path in folder.glob("**/*.log"):
        if "pods" not in path.parts:
            shutil.copy(path, into)
