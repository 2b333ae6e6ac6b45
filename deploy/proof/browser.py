"""Headless Chromium: what a person would see of the report."""

import contextlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

WIDTH = 1488

# Goes into a copy of the report; the report itself has no scripts. For each panel: whether it and something drawn in it
# have a size and lie inside of it.
MEASURE = """
<pre id="measured"></pre><script>
const inside = (a, b) => a.right > b.left && a.left < b.right && a.bottom > b.top && a.top < b.bottom;
const seen = [...document.querySelectorAll('.panel')].map(panel => {
  const frame = panel.getBoundingClientRect();
  const marks = [...panel.querySelectorAll('.mark, .shows, .prose')].map(mark => mark.getBoundingClientRect())
    .filter(box => box.width + box.height >= 1 && inside(box, frame)).length;
  return {name: panel.dataset.name, width: frame.width, height: frame.height, marks,
    text: panel.innerText.length, empty: panel.classList.contains('empty')};
});
const strips = [...document.querySelectorAll('.alert')].filter(one => one.querySelector('.mark').getBoundingClientRect().width > 0);
document.getElementById('measured').textContent = JSON.stringify(
  {panels: seen, strips: strips.length, messages: document.querySelectorAll('.message').length,
   height: document.documentElement.scrollHeight, width: document.documentElement.scrollWidth});
</script></body>"""


def chromium(arguments, seconds=120):
    """Runs it in a session of its own, so that nothing of it is left behind, and gives what it wrote."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory(prefix="weir-chromium-") as profile:
        command = [
            program,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ]
        command += [f"--user-data-dir={profile}", "--no-first-run", "--disable-background-networking", *arguments]
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        try:
            said, wrong = running.communicate(timeout=seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
        if running.returncode != 0:
            raise SystemExit(f"chromium ended with {running.returncode}: {wrong.decode(errors='replace')[-2000:]}")
        return said.decode()


def measure(report):
    """What the report's parts measure when they are drawn."""
    with tempfile.TemporaryDirectory(prefix="weir-report-") as folder:
        copy = Path(folder) / "report.html"
        copy.write_text(report.read_text().replace("</body>", MEASURE))
        dom = chromium([f"--window-size={WIDTH},2000", "--dump-dom", f"file://{copy}"])
    found = re.search(r'<pre id="measured">(.*?)</pre>', dom, re.S)
    if not found or not found[1]:
        raise SystemExit("chromium did not measure the report")
    return json.loads(found[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))


def screenshot(report, into, height):
    chromium([f"--window-size={WIDTH},{height}", f"--screenshot={into}", f"file://{report.resolve()}"])
    if not into.is_file():
        raise SystemExit("chromium took no screenshot")


# What of the report is shown in the documents: its head, the alerts, some messages, the beginning of the first board.
EXCERPT = "<style>.messages { max-height: 240px; overflow: hidden; } body { padding-bottom: 0; }</style></head>"
EXCERPT_HEIGHT = 2800


def excerpt(report, into):
    with tempfile.TemporaryDirectory(prefix="weir-report-") as folder:
        copy = Path(folder) / "report.html"
        copy.write_text(report.read_text().replace("</head>", EXCERPT, 1))
        screenshot(copy, into, EXCERPT_HEIGHT)
    pack_again(into)


def wrong(measured, panels):
    """Panels of whom a person would see nothing; `panels` is how many there must be."""
    found = [
        f"{one['name']}: nothing is drawn: {one}"
        for one in measured["panels"]
        if one["width"] < 50 or one["height"] < 50 or (one["marks"] == 0 and not one["empty"])
    ]
    if len(measured["panels"]) != panels:
        found.append(f"{len(measured['panels'])} panels are drawn, not {panels}")
    if measured["width"] > WIDTH:
        found.append(f"the report is {measured['width']} pixels wide, more than {WIDTH}")
    return found


def pack_again(path):
    """A PNG with the strongest compression; Chromium prefers speed."""
    data = path.read_bytes()
    at, kept, pixels = 8, [], b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            pixels += content
        else:
            kept.append((kind, content))
        at += 12 + length
    best = zlib.compress(zlib.decompress(pixels), 9)
    kept.insert(-1, (b"IDAT", min(best, pixels, key=len)))
    chunks = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in kept
    )
    path.write_bytes(data[:8] + chunks)
