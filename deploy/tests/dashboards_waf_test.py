"""The lines that the board WAF offers against false positives do what it says: tried in nginx with its rules."""

import os
import shutil
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from dashboards_lines_test import one
from dashboards_queries_test import missing
from hardened import free_port

MODULE = Path("/usr/lib/nginx/modules/ngx_http_modsecurity_module.so")
RULES = Path("/usr/share/modsecurity-crs/rules")
# The rules stand where ingress-nginx includes them, SNIPPET where it writes an Ingress' modsecurity-snippet.
NGINX = """
daemon off;
master_process off;
pid FOLDER/nginx.pid;
error_log FOLDER/error.log info;
load_module MODULE;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path FOLDER/tmp; proxy_temp_path FOLDER/tmp; fastcgi_temp_path FOLDER/tmp;
  uwsgi_temp_path FOLDER/tmp; scgi_temp_path FOLDER/tmp;
  modsecurity on;
  modsecurity_rules '
    SecRuleEngine On
    SecAuditEngine Off
    SecTmpDir FOLDER/tmp
    SecDataDir FOLDER/tmp
    Include /etc/modsecurity/crs/crs-setup.conf
    Include RULES/*.conf
  ';
  server {
    listen 127.0.0.1:PORT;
    server_name shop.example;
    location / {
      SNIPPET
      root FOLDER/www;
    }
  }
}
"""
# What a shop's customer may well write.
QUERY = urllib.parse.urlencode({"q": "1' or '1'='1"})


class Exclusions(unittest.TestCase):
    def setUp(self):
        self.program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not self.program or not MODULE.exists() or not RULES.exists():
            missing("nginx with ModSecurity and its Core Rule Set")

    def answers(self, snippet):
        """The statuses of /cart and /other, and what the finder finds in nginx' log of them."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "tmp").mkdir()
            (folder / "www").mkdir()
            for page in ("cart", "other"):
                (folder / "www" / page).write_text("hello\n")
            port = free_port()
            text = NGINX.replace("SNIPPET", f"modsecurity_rules '{snippet}';" if snippet else "")
            for word, value in (("FOLDER", name), ("PORT", str(port)), ("MODULE", str(MODULE)), ("RULES", str(RULES))):
                text = text.replace(word, value)
            (folder / "nginx.conf").write_text(text)
            nginx = subprocess.Popen(
                [self.program, "-p", name, "-e", "stderr", "-c", folder / "nginx.conf"],
                stderr=subprocess.PIPE,
                text=True,
            )
            try:
                statuses = [self.status(nginx, f"http://127.0.0.1:{port}/{path}?{QUERY}") for path in ("cart", "other")]
            finally:
                nginx.terminate()
                nginx.communicate(timeout=30)
            found = list(one("False positives: rule and path").rows((folder / "error.log").read_text().splitlines()))
        return statuses, found

    def status(self, nginx, url):
        until = time.monotonic() + 30
        while True:
            try:
                request = urllib.request.Request(url, headers={"Host": "shop.example", "User-Agent": "Mozilla/5.0"})
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code
            except OSError:
                self.assertIsNone(nginx.poll(), "nginx refused its configuration")
                self.assertLess(time.monotonic(), until)
                time.sleep(0.05)

    def test_they_end_it_on_the_path_or_everywhere_and_nothing_else(self):
        statuses, found = self.answers("")
        self.assertEqual(statuses, [403, 403])
        of_cart = [row for row in found if row["uri"] == "/cart"]
        self.assertTrue(any(row["rule_id"].startswith("942") for row in of_cart), found)
        here = "\n".join(sorted({row["here"] for row in of_cart}))
        statuses, found = self.answers(here)
        self.assertEqual(statuses, [200, 403], here)
        self.assertEqual({row["uri"] for row in found}, {"/other"})
        everywhere = "\n".join(sorted({row["everywhere"] for row in of_cart}))
        statuses, found = self.answers(everywhere)
        self.assertEqual((statuses, found), ([200, 200], []), everywhere)


if __name__ == "__main__":
    unittest.main()
