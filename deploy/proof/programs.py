"""Programs that the proof starts and, whatever happens, ends."""

import ctypes
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_the_parent():
    """In the child: the kernel kills it when the proof itself is killed."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


class Program:
    """A running program; what it says goes to a file, unless its pipes are asked for."""

    def __init__(self, name, command, folder, environment=None, pipes=False):
        self.name, self.said = name, folder / f"{name}.log"
        with open(self.said, "ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else log,
                stderr=subprocess.PIPE if pipes else log,
                cwd=folder,
                env=environment,
                preexec_fn=die_with_the_parent,
            )

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def until_ready(self, url):
        """Waits until a page is answered with 200."""

        def answered():
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")
            return get(url) is not None

        eventually(f"{self.name} ready", answered)

    def tail(self):
        return self.said.read_text(errors="replace")[-3000:]


def get(url):
    """The body of a page, or nothing when it is not there yet."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def comes(found, seconds):
    """Whether something is found in time; gives it back."""
    until = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < until:
        time.sleep(0.1)
    return value


def eventually(what, found, seconds=120):
    """Waits until something is found, and gives it back; without it the proof cannot go on."""
    return comes(found, seconds) or sys.exit(f"not within {seconds} s: {what}")
