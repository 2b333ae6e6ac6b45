"""The requests of the proof: a plan that is the same at every run, and the clients that carry it out.

A second of the plan is a second of the clock; the rules' durations are shortened to fit (rules.py).
"""

import base64
import http.client
import json
import queue
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

SECONDS = 150
SEED = 7
# Longer than nginx waits for anything: it answers 504 first, and that counts.
TIMEOUT_SECONDS = 150

# Whom the alerts must name. All addresses are of tests/corpus/demo, whose database knows their countries.
BRUTE_FORCE = "161.63.254.121"
ATTACKER = "180.95.81.195"
SCANNER = "194.14.241.100"
HURRIED = "34.116.234.24"

AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "okhttp/4.12.0",
]
ORDINARY = [
    (
        "shop.example",
        ["/", "/cart", "/products/{n}", "/products/{n}/reviews", "/missing/{n}/status-404", "/old/status-301"],
    ),
    ("api.shop.example", ["/v1/orders/{n}", "/v1/orders/{n}/delay-30", "/v1/stock"]),
    ("blog.example", ["/", "/posts/{n}", "/feed", "/posts/{n}/status-304"]),
    ("photos.example", ["/album/{n}", "/photo/{n}/delay-80", "/photo/{n}/large/delay-350"]),
]
ATTACKS = [
    "/?id={n}%20UNION%20SELECT%20password%20FROM%20users--",
    "/?q=%3Cscript%3Ealert({n})%3C/script%3E",
    "/?file=../../../../etc/passwd&n={n}",
    "/?run=;cat%20/etc/passwd;{n}",
]
PROBES = ["/wp-login.php", "/.env", "/phpmyadmin/{n}", "/admin/{n}", "/backup.zip"]


# What is done, in words, from when to when.
PHASES = {
    "brute_force": ("one address tries passwords", 15, 40),
    "attacks": ("attacks, most of them from one address", 35, 60),
    "scan": ("a scanner looks for holes", 45, 65),
    "misfire": ("honest clients meet a wrong rule", 50, 70),
    "hurry": ("one client calls without a pause", 55, 95),
    "failures": ("an application fails", 80, 105),
    "slowness": ("another is slow", 85, 130),
}


@dataclass(order=True)
class Request:
    """When it is made, in seconds from the beginning; by whom, of what."""

    at: float
    client: str = field(compare=False)
    host: str = field(compare=False)
    path: str = field(compare=False)
    method: str = field(default="GET", compare=False)
    headers: dict = field(default_factory=dict, compare=False)
    controller: int = field(default=0, compare=False)


def clients(repository):
    """Public addresses of the corpus."""
    truth = json.loads((repository / "tests/corpus/demo/truth.json").read_text())
    named = {BRUTE_FORCE, ATTACKER, SCANNER, HURRIED}
    found = [name for name in truth["sum_of_runs"]["access"]["by_client"] if "." in name or ":" in name]
    private = ("10.", "127.", "100.64.", "192.168.", "172.", "::1", "fd", "fe80")
    return sorted(name for name in found if name not in named and not name.startswith(private))[:120]


class Plan:
    """All requests, in the order of their time."""

    def __init__(self, repository):
        self.random, self.requests = random.Random(SEED), []
        self.clients = clients(repository)
        self.ordinary()
        for phase, (_, start, end) in PHASES.items():
            getattr(self, phase)(start, end)
        self.requests.sort()

    def spread(self, start, end, per_second):
        """Times at that rate, none exactly where it was expected."""
        count = int((end - start) * per_second)
        return [start + (n + self.random.random()) / per_second for n in range(count)]

    def add(self, at, client, host, path, **others):
        path = path.replace("{n}", str(self.random.randrange(40)))
        headers = {"User-Agent": self.random.choice(AGENTS), "Accept": "*/*", **others.pop("headers", {})}
        if client:
            headers["X-Forwarded-For"] = client
        controller = self.random.randrange(2)
        self.requests.append(Request(at, client, host, path, headers=headers, controller=controller, **others))

    def ordinary(self):
        """People, more of some than of others, and a health check of the house's own."""
        weights = [1 / (1 + rank) for rank in range(len(self.clients))]
        for at in self.spread(0, SECONDS, 24):
            client = self.random.choices(self.clients, weights)[0]
            host, paths = self.random.choice(ORDINARY)
            method = "POST" if self.random.random() < 0.06 else "GET"
            self.add(at, client, host, self.random.choice(paths), method=method)
        for at in self.spread(0, SECONDS, 0.5):
            self.add(at, "", "nobody.example", "/healthz")

    def brute_force(self, start, end):
        for at in self.spread(start, end, 14):
            word = base64.b64encode(b"admin:%06d" % self.random.randrange(10**6)).decode()
            self.add(at, BRUTE_FORCE, "vault.example", "/login", headers={"Authorization": f"Basic {word}"})

    def attacks(self, start, end):
        for at in self.spread(start, end, 10):
            client = ATTACKER if self.random.random() < 0.7 else self.random.choice(self.clients[:6])
            self.add(at, client, "shop.example", self.random.choice(ATTACKS))

    def misfire(self, start, end):
        """What looks like an attack and comes from everybody is a rule that is wrong."""
        for client in self.clients[:40]:
            at = start + self.random.random() * (end - start)
            self.add(at, client, "blog.example", "/posts/how-to-write-.htaccess")

    def scan(self, start, end):
        agent = {"User-Agent": "Mozilla/5.00 (Nikto/2.1.6) (Evasions:None) (Test:Port Check)"}
        for at in self.spread(start, end, 6):
            self.add(at, SCANNER, "photos.example", self.random.choice(PROBES), headers=agent)

    def hurry(self, start, end):
        """One program without a pause, most of it held back by the limit."""
        for at in self.spread(start, end, 130):
            self.add(at, HURRIED, "api.shop.example", "/v1/stock")

    def failures(self, start, end):
        for at in self.spread(start, end, 24):
            status = self.random.choice([500, 502, 503])
            self.add(at, self.random.choice(self.clients), "api.shop.example", f"/v1/orders/{{n}}/status-{status}")

    def slowness(self, start, end):
        for at in self.spread(start, end, 4):
            self.add(at, self.random.choice(self.clients), "photos.example", "/photo/{n}/export/delay-3000")


class Traffic:
    """Clients that carry a plan out, each by connections of its own."""

    WORKERS = 40

    def __init__(self, plan, ports):
        self.ports, self.failures, self.lock = ports, [], threading.Lock()
        # What the clients saw.
        self.by_status, self.by_client, self.by_host = Counter(), Counter(), Counter()
        self.made, self.late = 0, 0.0
        self.waiting = queue.SimpleQueue()
        for request in plan.requests:
            self.waiting.put(request)
        self.began = time.monotonic()
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(self.WORKERS)]
        for thread in self.threads:
            thread.start()

    def work(self):
        connections = {}
        while True:
            try:
                request = self.waiting.get_nowait()
            except queue.Empty:
                break
            time.sleep(max(0.0, self.began + request.at - time.monotonic()))
            self.late = max(self.late, time.monotonic() - self.began - request.at)
            try:
                self.note(request, self.carry_out(request, connections))
            except (http.client.HTTPException, OSError) as error:
                connections.pop(self.ports[request.controller]).close()
                self.failures.append(f"{request}: {error!r}")
        for connection in connections.values():
            connection.close()

    def carry_out(self, request, connections):
        port = self.ports[request.controller]
        if port not in connections:
            connections[port] = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        body = b"" if request.method == "POST" else None
        connections[port].request(request.method, request.path, body, {"Host": request.host, **request.headers})
        answer = connections[port].getresponse()
        answer.read()
        return answer.status

    def note(self, request, status):
        with self.lock:
            self.made += 1
            self.by_status[str(status)] += 1
            self.by_client[request.client] += 1
            self.by_host[request.host] += 1

    def wait(self):
        for thread in self.threads:
            thread.join()
        if self.failures:
            raise SystemExit("requests without an answer: " + "; ".join(self.failures[:5]))
