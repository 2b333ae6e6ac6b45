"""What stands between a container and its log: containerd's lines, and the kubelet's rotation."""

import gzip
import threading
import time
from datetime import datetime, timezone

PIECE_MAX = 16 * 1024
ROTATED_MAX = 4


class Container:
    """Reads the two pipes of a program and writes `0.log`, which is rotated by size while lines come.

    As on a node: a rotated file stays plain until the next rotation, is packed then, and the oldest goes.
    """

    def __init__(self, pods, pod, name, rotate_bytes):
        self.folder = pods / pod / name
        self.folder.mkdir(parents=True)
        self.path, self.rotate_bytes = self.folder / "0.log", rotate_bytes
        self.log = open(self.path, "ab", buffering=0)
        self.size = self.rotations = self.pieces = 0
        self.rotated = None
        # Whole lines by stream, as the program wrote them: the truth that Loki is compared with.
        self.lines = {"stdout": [], "stderr": []}
        self.lock = threading.Lock()
        self.readers = []

    def follow(self, pipe, stream):
        reader = threading.Thread(target=self.copy, args=(pipe, stream), daemon=True)
        reader.start()
        self.readers.append(reader)

    def copy(self, pipe, stream):
        for line in pipe:
            self.write(line.removesuffix(b"\n"), stream)

    def write(self, line, stream="stdout"):
        now = time.time_ns()
        stamp = datetime.fromtimestamp(now // 1_000_000_000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
        head = f"{stamp}.{now % 1_000_000_000:09d}Z {stream} ".encode()
        pieces = [line[at : at + PIECE_MAX] for at in range(0, len(line), PIECE_MAX)] or [b""]
        tags = [b"P "] * (len(pieces) - 1) + [b"F "]
        data = b"".join(head + tag + piece + b"\n" for tag, piece in zip(tags, pieces))
        with self.lock:
            self.lines[stream].append(line.decode(errors="replace"))
            self.pieces += len(pieces)
            self.log.write(data)
            self.size += len(data)
            stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
            if self.size >= self.rotate_bytes and stamp != self.rotated:
                self.rotate(stamp)

    def rotate(self, stamp):
        """In the kubelet's order: pack the older ones, remove the oldest, rename, open anew."""
        rotated = sorted(path for path in self.folder.iterdir() if path.name.startswith("0.log."))
        for plain in [path for path in rotated if path.suffix != ".gz"]:
            half = plain.with_name(plain.name + ".tmp")
            with gzip.open(half, "wb", compresslevel=1) as packed:
                packed.write(plain.read_bytes())
            half.rename(plain.with_name(plain.name + ".gz"))
            plain.unlink()
        for oldest in sorted(self.folder.glob("0.log.*.gz"))[: -ROTATED_MAX + 1]:
            oldest.unlink()
        self.rotations, self.rotated = self.rotations + 1, stamp
        self.path.rename(self.folder / f"0.log.{stamp}")
        self.log.close()
        self.log = open(self.path, "ab", buffering=0)
        self.size = 0

    def finish(self):
        """After its program has ended: waits until all that it wrote is in the log."""
        for reader in self.readers:
            reader.join(30)
            if reader.is_alive():
                raise SystemExit(f"a pipe of {self.folder} stays open")
        self.log.close()

    def count(self):
        with self.lock:
            return sum(len(lines) for lines in self.lines.values())
