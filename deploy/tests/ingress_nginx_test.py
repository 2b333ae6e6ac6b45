"""The values for ingress-nginx: the shipped configuration reads every field of their log format."""

import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

import chart

CONFIG = yaml.safe_load((chart.DEPLOY / "ingress-nginx/values.yaml").read_text())["controller"]["config"]
FORMAT = CONFIG["log-format-upstream"]
# What nginx and the controller put in place of the variables; a request that two upstreams were tried for.
REQUEST = {
    "time_iso8601": "2026-11-21T02:25:48+00:00",
    "remote_addr": "203.0.113.7",
    "realip_remote_addr": "10.1.10.3",
    "proxy_add_x_forwarded_for": "203.0.113.7",
    "remote_user": "",
    "req_id": "3831572fa4164aa392468330bbaa6d53",
    "host": "shop.example",
    "request_method": "GET",
    "uri": "/cart",
    "args": "a=1&b=%22",
    "server_protocol": "HTTP/2.0",
    "request": "GET /cart?a=1&b=%22 HTTP/2.0",
    "status": "200",
    "request_length": "640",
    "body_bytes_sent": "1024",
    "request_time": "0.750",
    "http_referer": "",
    "http_user_agent": 'a \\"browser\\" \\\\',
    "namespace": "shop",
    "ingress_name": "storefront",
    "service_name": "web",
    "service_port": "80",
    "proxy_upstream_name": "shop-web-80",
    "upstream_addr": "10.0.0.1:8080, 10.0.0.2:8080",
    "upstream_status": "502, 200",
    "upstream_response_time": "0.250, 0.500",
    "upstream_response_length": "0, 1024",
}
# One that reached no ingress, and one that was refused before its method was read.
NOWHERE = {
    **REQUEST,
    "namespace": "",
    "ingress_name": "",
    "service_name": "",
    "upstream_addr": "",
    "upstream_status": "",
    "upstream_response_time": "",
    "upstream_response_length": "",
    "proxy_upstream_name": "upstream-default-backend",
    "status": "404",
    "host": "_",
}
STRANGE = {**REQUEST, "status": "009", "upstream_response_time": "-", "upstream_status": "-"}


def line(variables):
    return re.sub(r"\$(\w+)", lambda found: variables[found[1]], FORMAT)


class Format(unittest.TestCase):
    def test_lines_are_one_json_object_each(self):
        self.assertNotIn("\n", FORMAT)
        self.assertEqual(CONFIG["log-format-escape-json"], "true")
        for variables in (REQUEST, NOWHERE, STRANGE):
            json.loads(line(variables))

    def test_the_shipped_configuration_counts_every_field(self):
        binary = os.environ.get("WEIR_BIN")
        if not binary:
            self.skipTest("WEIR_BIN names no binary")
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "pods/ingress-nginx_c_585292d4-f356-4406-a41a-4d8a2e980008/controller/0.log")
            log.parent.mkdir(parents=True)
            log.write_text("".join(f"2026-11-21T02:25:48.1Z stdout F {line(v)}\n" for v in (REQUEST, NOWHERE, STRANGE)))
            done = subprocess.run(
                [
                    Path(binary).resolve(),
                    f"-config.file={chart.ROOT / 'config/kubernetes.yaml'}",
                    "-config.expand-env",
                    "-one-shot",
                ],
                env={"WEIR_LOG_ROOT": f"{folder}/pods", "WEIR_STATE": f"{folder}/state", "NODE_NAME": "n"},
                capture_output=True,
                text=True,
                timeout=60,
            )
        self.assertEqual(done.returncode, 0, done.stderr)
        for series in (
            'weir_http_requests_total{ingress="storefront",method="GET",namespace="shop",service="web",status="200"} 1',
            'weir_http_requests_total{ingress="storefront",method="GET",namespace="shop",service="web",status="009"} 1',
            'weir_http_requests_total{ingress="",method="GET",namespace="",service="",status="404"} 1',
            'weir_http_client_requests_total{client_ip="203.0.113.7"} 3',
            'weir_http_request_bytes_total{ingress="storefront",namespace="shop"} 1280',
            'weir_http_response_bytes_total{ingress="storefront",namespace="shop"} 2048',
            'weir_http_request_duration_seconds_sum{ingress="storefront",namespace="shop"} 1.5',
            'weir_http_upstream_duration_seconds_sum{ingress="storefront",namespace="shop"} 0.75',
        ):
            self.assertIn(series + "\n", done.stdout)

    def test_every_field_has_a_name_that_weir_knows(self):
        stage = chart.ROOT / "agent/pipeline/stage"
        source = "".join(path.read_text() for path in stage.rglob("*.rs") if "ingress_nginx" in str(path))
        unknown = [key for key in json.loads(line(REQUEST)) if f'"{key}"' not in source]
        # Of the resolver of the client's address; an agent without one passes it over.
        self.assertEqual([key for key in unknown if key != "realip_remote_addr"], [])

    def test_what_the_waf_notes_is_logged(self):
        self.assertEqual(CONFIG["error-log-level"], "info")
        self.assertEqual((CONFIG["enable-modsecurity"], CONFIG["enable-owasp-modsecurity-crs"]), ("true", "true"))
        self.assertIn("SecAuditEngine Off", CONFIG["modsecurity-snippet"])

    def test_every_way_to_the_clients_address_names_who_may_say_it(self):
        text = (chart.DEPLOY / "ingress-nginx/values.yaml").read_text()
        ways = text.split("# A proxy or load balancer")[1].split("  service:")[0]
        blocks = re.split(r"\n    #\n", ways)
        self.assertEqual(len(blocks), 3)
        for block in blocks:
            self.assertRegex(block, r"(?m)^    # (use-proxy-protocol|use-forwarded-headers): \"true\"$")
            self.assertRegex(block, r"(?m)^    # proxy-real-ip-cidr: [0-9a-f]")


if __name__ == "__main__":
    unittest.main()
