"""The applications behind the ingresses: one server that answers what its path asks for."""

import re
import time

from server import Handler, Server

# `/…/status-500/delay-200`: a status, and a delay in milliseconds.
STATUS, DELAY = re.compile(r"/status-(\d{3})"), re.compile(r"/delay-(\d+)")


def start(container):
    """It says each request in a line of its own log, as applications do."""

    class Application(Handler):
        def answer(self):
            self.body()
            status, delay = STATUS.search(self.path), DELAY.search(self.path)
            time.sleep(int(delay[1]) / 1000 if delay else 0)
            container.write(f"level=info msg=answered method={self.command} path={self.path}".encode())
            self.reply(int(status[1]) if status else 200, b"hello\n" * (1 + len(self.path) * 7 % 400))

        do_GET = do_POST = do_HEAD = answer

    return Server(Application)
