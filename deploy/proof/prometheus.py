"""Debian's Prometheus, and what it knows."""

import json
import math
import urllib.error
import urllib.parse
import urllib.request

import yaml

from programs import Program, free_port

SCRAPE_SECONDS = 1


class Prometheus:
    def __init__(self, folder, rules, alertmanager_port, targets):
        """`targets`: the labels of each address that is scraped."""
        self.port = free_port()
        scrapes = [
            {
                "job_name": labels["job"],
                # As the chart's PodMonitor has it.
                "honor_labels": True,
                "static_configs": [{"targets": [address], "labels": labels}],
            }
            for address, labels in targets.items()
        ]
        timing = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        config = {
            "global": timing,
            "rule_files": [str(path) for path in rules],
            "scrape_configs": scrapes,
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]}]},
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
        # Alerts are sent again every so often; the usual minute is long here.
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--rules.alert.resend-delay=2s"]
        command += ["--log.level=warn"]
        self.program = Program("prometheus", command, folder)
        self.program.until_ready(f"http://127.0.0.1:{self.port}/-/ready")

    def stop(self):
        self.program.stop()

    def api(self, path, **parameters):
        """The data of an answer; a query that is refused ends the proof with what Prometheus says."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}"
        if parameters:
            url += "?" + urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise Refused(json.load(error).get("error", str(error))) from error

    def instant(self, query, at=None):
        """Labels and value of each series."""
        found = self.api("query", query=query, **({"time": at} if at else {}))
        if found["resultType"] in ("scalar", "string"):
            return [({}, float(found["result"][1]))]
        return [(series["metric"], float(series["value"][1])) for series in found["result"]]

    def value(self, query):
        """The one value of a query, 0 when there is none."""
        return sum(value for _, value in self.instant(query))

    def range(self, query, start, end, step):
        """Labels and points of each series; what is no number is left out."""
        found = self.api("query_range", query=query, start=start, end=end, step=step)
        series = []
        for one in found["result"]:
            points = [(float(at), float(value)) for at, value in one["values"]]
            points = [point for point in points if math.isfinite(point[1])]
            if points:
                series.append((one["metric"], points))
        return series

    def gained(self, metric):
        """What the samples of a counter add up to, as increase() does before it extrapolates: what each series gained
        between two samples; after a step down, what it came up to. A series' first sample is worth nothing."""
        total, resets = 0.0, 0
        for series in self.api("query", query=f"{metric}[1h]")["result"]:
            values = [float(value) for _, value in series["values"]]
            for before, after in zip(values, values[1:]):
                resets += after < before
                total += after - before if after >= before else after
        return total, resets

    def metrics(self):
        """Every name of a metric that it has, now or earlier in this run."""
        return set(self.api("label/__name__/values"))


class Refused(ValueError):
    """A query that Prometheus does not take."""
