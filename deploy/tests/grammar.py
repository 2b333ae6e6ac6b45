"""Grafana's own grammar of LogQL, run by node: packages of npm, each one pinned, fetched once into target/."""

import base64
import hashlib
import io
import json
import os
import subprocess
import tarfile
import urllib.request
from pathlib import Path

import chart

PACKAGES = {
    "@grafana/lezer-logql": (
        "0.4.2",
        "oFL37nFgQq3xWN8A7rIKQ2nrftq8l3i0U6TcbtLNlrzn7aVxmPCYaibRjnYDXZQ64QhFkcWVhspXWwSguZsyzQ==",
    ),
    "@lezer/lr": ("1.4.12", "On9HU4oMMiHPMkQDgoTnGahjgG5n/MkN38CgG77sMraKLL+3JBbeQNi1FcCXV9QRqwF9/BUXP3caHyJC1fBOTQ=="),
    "@lezer/common": (
        "1.5.5",
        "Pw7PVCndruF1pb3ebCxpSVpkMHSDjwRCLcTRw+RizUKco5QbWylwq2g4lnG/RYN7yTTQDXE9F77MwtkAyphrjg==",
    ),
    "@lezer/highlight": (
        "1.2.5",
        "O1GMVKgtf5YspFaRzpmqkVgMtIk2HG9uMAbH6wdAIdNh3TVzCsch/+cRi+6l2//UGDKe6NB9BW3cvuR5ezMQ0w==",
    ),
}
# Reads a list of queries from stdin; writes for each where its errors are.
PROGRAM = """\
import {parser} from '@grafana/lezer-logql';
import {readFileSync} from 'node:fs';
const queries = JSON.parse(readFileSync(0, 'utf8'));
console.log(JSON.stringify(queries.map(query => {
  const found = [];
  parser.parse(query).iterate({enter: node => { if (node.type.isError) found.push(node.from); }});
  return found;
})));
"""


def fetch():
    """The folder with the program and its packages. Raises OSError where npm's registry cannot be reached."""
    folder = Path(os.environ.get("CARGO_TARGET_DIR", chart.ROOT / "target"), "logql-grammar")
    wanted = json.dumps(PACKAGES)
    done = folder / "packages.json"
    if not done.exists() or done.read_text() != wanted:
        for name, (version, digest) in PACKAGES.items():
            _unpack(_download(name, version, digest), folder / "node_modules" / name)
        done.write_text(wanted)
    (folder / "errors.mjs").write_text(PROGRAM)
    return folder


def errors(folder, queries):
    """For each query the places of its syntax errors."""
    done = subprocess.run(
        ["node", folder / "errors.mjs"], input=json.dumps(queries), capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)


def _download(name, version, digest):
    url = f"https://registry.npmjs.org/{name}/-/{name.split('/')[1]}-{version}.tgz"
    with urllib.request.urlopen(url, timeout=30) as answer:
        content = answer.read(4 << 20)
    found = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != digest:
        raise AssertionError(f"{url} has sha512 {found}, not {digest}")
    return content


def _unpack(content, folder):
    """Regular files only, below the folder: they all stand in a folder `package`."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            parts = Path(member.name).parts
            if member.isfile() and parts[0] == "package" and ".." not in parts:
                path = folder.joinpath(*parts[1:])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.extractfile(member).read())
