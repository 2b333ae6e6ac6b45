"""The applications behind the ingresses: one server that answers what its path asks for."""

import http.server
import re
import threading
import time

# `/…/status-500/delay-200`: a status, and a delay in milliseconds.
STATUS, DELAY = re.compile(r"/status-(\d{3})"), re.compile(r"/delay-(\d+)")


class Upstream:
    """Says each request in a line of its own log, as applications do."""

    def __init__(self, container):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(container))
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def handler(container):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # One write per answer: with two, Nagle's algorithm and delayed acknowledgements make each wait 40 ms.
        wbufsize = -1
        disable_nagle_algorithm = True

        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, delay = STATUS.search(self.path), DELAY.search(self.path)
            time.sleep(int(delay[1]) / 1000 if delay else 0)
            body = b"" if self.command == "HEAD" else b"hello\n" * (1 + len(self.path) * 7 % 400)
            self.send_response(int(status[1]) if status else 200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            container.write(f"level=info msg=answered method={self.command} path={self.path}".encode())

        do_GET = do_POST = do_HEAD = answer

        def log_message(self, *_):
            pass

    return Handler
