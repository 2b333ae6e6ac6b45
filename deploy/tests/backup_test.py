"""The backup of the stack, rehearsed: real databases are saved, lost, restored and compared.

With Debian's PostgreSQL, Prometheus and pushgateway on the loopback, in folders that are gone afterwards; a part of which
the programs are missing is left out (WEIR_ALL=1: fails). The scripts run in dash and in busybox' shell.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

import chart

SCRIPTS = chart.DEPLOY / "backup"
BUSYBOX = shutil.which("busybox")
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
# What busybox in the image of the jobs gives the scripts, and nothing else.
APPLETS = "sh cat chown cp cut date du grep gzip head id ls mkdir mv rm sed sha256sum sleep sort stat sync tail tar timeout tr wget".split()


def missing(what):
    """A reason to leave a test out; an error where nothing may be left out."""
    if os.environ.get("WEIR_ALL"):
        raise AssertionError(f"--all, and {what} is missing")
    return unittest.skip(f"no {what}")


def wants(there, what):
    return (lambda test: test) if there else missing(what)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(url, data=None):
    with urllib.request.urlopen(url, data, timeout=10) as answer:
        return answer.read().decode()


def until(ready, what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"{what} was not there after {seconds} s")


def tree(folder):
    """Checksums of the files below a folder."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(Path(folder).rglob("*"))
        if p.is_file()
    }


class Rehearsal(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="weir-backup-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.backup = self.folder / "backup"
        self.backup.mkdir()

    def run_script(self, script, *args, shell=("sh",), check=True, **variables):
        env = {"PATH": os.environ["PATH"], "BACKUP_DIR": str(self.backup), **{k: str(v) for k, v in variables.items()}}
        done = subprocess.run(
            [*shell, str(SCRIPTS / script), *args], env=env, capture_output=True, text=True, timeout=120
        )
        if check:
            self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def start(self, *command, **more):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
        self.addCleanup(process.wait, 30)
        self.addCleanup(process.send_signal, signal.SIGTERM)
        return process

    def archives(self, component):
        return sorted(p for p in (self.backup / component).iterdir() if re.fullmatch(r"\d{8}T\d{6}Z", p.name))

    def times(self, component):
        text = (self.backup / component / "times.prom").read_text()
        return {what: int(value) for what, value in re.findall(r"_last_(\w+?)_timestamp_seconds\{.*\} (\d+)", text)}

    def grafana(self, rows=100):
        data = self.folder / "grafana"
        (data / "plugins/one").mkdir(parents=True)
        (data / "plugins/one/module.js").write_text("x")
        with sqlite3.connect(data / "grafana.db") as database:
            database.execute("create table dashboard (uid text, title text)")
            database.executemany("insert into dashboard values (?, ?)", [(str(n), f"board {n}") for n in range(rows)])
        database.close()
        return data


class Folders(Rehearsal):
    def test_grafana_is_saved_lost_and_restored(self):
        data = self.grafana()
        before = tree(data)
        self.run_script("backup.sh", "grafana", GRAFANA_DATA=data)
        shutil.rmtree(data)
        data.mkdir()
        self.run_script("restore.sh", "grafana", GRAFANA_DATA=data)
        self.assertEqual(tree(data), before)
        with sqlite3.connect(data / "grafana.db") as database:
            self.assertEqual(database.execute("pragma integrity_check").fetchone(), ("ok",))
            self.assertEqual(database.execute("select count(*) from dashboard").fetchone(), (100,))
        database.close()

    @unittest.skipIf(os.getuid() != 0, "not root, who alone restores for others")
    def test_what_root_restores_belongs_to_whom_the_folder_belongs(self):
        data, again = self.grafana(), self.folder / "again"
        self.run_script("backup.sh", "grafana", GRAFANA_DATA=data)
        again.mkdir()
        os.chown(again, 472, 472)
        self.run_script("restore.sh", "grafana", GRAFANA_DATA=again)
        self.assertEqual({(p.stat().st_uid, p.stat().st_gid) for p in again.rglob("*")}, {(472, 472)})

    def test_a_database_that_is_being_written_to_is_not_copied(self):
        data = self.grafana()
        (data / "grafana.db-journal").write_text("a transaction")
        # Without its pauses, so that the tries take no time.
        quick = self.folder / "bin"
        quick.mkdir()
        (quick / "sleep").write_text("#!/bin/sh\n")
        (quick / "sleep").chmod(0o755)
        done = self.run_script(
            "backup.sh", "grafana", GRAFANA_DATA=data, check=False, PATH=f"{quick}:{os.environ['PATH']}"
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("was written to in all of 20 tries", done.stderr)
        self.assertEqual(self.archives("grafana"), [])
        self.assertEqual(list(self.times("grafana")), ["failure"])

    @wants(BUSYBOX, "busybox")
    def test_busybox_does_the_same(self):
        tools = self.folder / "bin"
        tools.mkdir()
        for applet in APPLETS:
            (tools / applet).symlink_to(BUSYBOX)
        data, loki = self.grafana(), self.folder / "loki"
        (loki / "chunks/fake").mkdir(parents=True)
        (loki / "chunks/fake/a").write_bytes(os.urandom(1000))
        keys = self.folder / "keys"
        mounted_secret(keys, "sealed", {"tls.key": b"secret\n"})
        before = tree(data), tree(loki)
        said = {"GRAFANA_DATA": data, "LOKI_DATA": loki, "KEYS_DIR": keys, "PATH": tools, "BACKUP_KEEP": 1}
        self.run_script("backup.sh", "grafana", "loki", "keys", shell=[BUSYBOX, "sh"], **said)
        for folder in (data, loki, keys):
            shutil.rmtree(folder)
            folder.mkdir()
        for component in ("grafana", "loki", "keys"):
            self.run_script("restore.sh", component, shell=[BUSYBOX, "sh"], **said)
        self.assertEqual((tree(data), tree(loki)), before)
        self.assertEqual((keys / "sealed/tls.key").read_bytes(), b"secret\n")

    def test_keys_are_saved_as_a_mounted_secret_has_them(self):
        keys = self.folder / "keys"
        mounted_secret(keys, "sealed", {"tls.key": b"secret\n", "tls.crt": b"open\n"})
        self.run_script("backup.sh", "keys", KEYS_DIR=keys)
        (archive,) = self.archives("keys")
        self.assertEqual((archive / "keys.tar.gz").stat().st_mode & 0o077, 0, "nobody else may read it")
        again = self.folder / "again"
        again.mkdir()
        self.run_script("restore.sh", "keys", KEYS_DIR=again)
        self.assertEqual(sorted(tree(again)), ["sealed/tls.crt", "sealed/tls.key"])

    def test_a_damaged_archive_is_refused_and_an_older_one_can_be_named(self):
        data = self.grafana()
        self.run_script("backup.sh", "grafana", GRAFANA_DATA=data)
        (archive,) = self.archives("grafana")
        damaged = Path(shutil.copytree(archive, archive.parent / "20990101T000000Z"))
        with open(damaged / "grafana.db", "r+b") as file:
            file.seek(5000)
            file.write(b"x")
        again = self.folder / "again"
        again.mkdir()
        done = self.run_script("restore.sh", "grafana", GRAFANA_DATA=again, check=False)
        self.assertIn("is damaged", done.stderr)
        self.assertEqual(list(again.iterdir()), [])
        self.run_script("restore.sh", "grafana", archive.name, GRAFANA_DATA=again)
        self.assertEqual(tree(again), tree(data))

    def test_nothing_is_written_over(self):
        data = self.grafana()
        self.run_script("backup.sh", "grafana", GRAFANA_DATA=data)
        saved = tree(data)
        (data / "grafana.db").write_text("newer")
        done = self.run_script("restore.sh", "grafana", GRAFANA_DATA=data, check=False)
        self.assertIn("is not empty", done.stderr)
        self.assertEqual((data / "grafana.db").read_text(), "newer")
        self.run_script("restore.sh", "grafana", GRAFANA_DATA=data, RESTORE_ASIDE="yes")
        (aside,) = data.glob("before-restore-*")
        self.assertEqual((aside / "grafana.db").read_text(), "newer")
        self.assertEqual({n: h for n, h in tree(data).items() if not n.startswith("before-restore-")}, saved)

    def test_only_so_many_stay_and_a_failure_removes_none(self):
        data = self.grafana()
        folder = self.backup / "grafana"
        for day in range(1, 6):
            (folder / f"2026010{day}T030000Z").mkdir(parents=True)
        (folder / "partial-1").mkdir()
        self.run_script("backup.sh", "grafana", GRAFANA_DATA=data, BACKUP_KEEP=3)
        kept = [p.name for p in self.archives("grafana")]
        self.assertEqual(kept[:2], ["20260104T030000Z", "20260105T030000Z"])
        self.assertEqual(len(kept), 3)
        self.assertFalse((folder / "partial-1").exists(), "what a killed run left")
        done = self.run_script("backup.sh", "grafana", GRAFANA_DATA=self.folder / "no", BACKUP_KEEP=1, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertEqual([p.name for p in self.archives("grafana")], kept)
        self.assertEqual(set(self.times("grafana")), {"success", "failure"})

    def test_one_that_fails_does_not_keep_the_others_from_it(self):
        data = self.grafana()
        done = self.run_script(
            "backup.sh", "loki", "grafana", LOKI_DATA=self.folder / "no", GRAFANA_DATA=data, check=False
        )
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(self.archives("grafana")), 1)

    def test_mistakes_are_told(self):
        for args, variables, words in (
            ([], {}, "which component?"),
            (["grafana", "mysql"], {}, "mysql is none of"),
            (["grafana"], {"BACKUP_DIR": ""}, "BACKUP_DIR"),
            (["grafana"], {"BACKUP_KEEP": "0"}, "BACKUP_KEEP=0"),
        ):
            done = self.run_script("backup.sh", *args, check=False, **variables)
            self.assertEqual(done.returncode, 2)
            self.assertIn(words, done.stderr)
        done = self.run_script("restore.sh", "grafana", check=False)
        self.assertIn("no archive of grafana", done.stderr)


def mounted_secret(keys, name, files):
    """A Secret as the kubelet mounts it: files are links into a folder with a time for a name."""
    data = keys / name / "..2026_01_02"
    data.mkdir(parents=True)
    (keys / name / "..data").symlink_to("..2026_01_02")
    for file, content in files.items():
        (data / file).write_bytes(content)
        (keys / name / file).symlink_to(f"..data/{file}")


@wants(shutil.which("prometheus"), "prometheus")
class Prometheus(Rehearsal):
    def prometheus(self, data, *flags):
        port = free_port()
        config = self.folder / "prometheus.yml"
        config.write_text(
            f"scrape_configs: [{{job_name: self, scrape_interval: 1s, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
        )
        self.process = self.start(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={data}",
            f"--web.listen-address=127.0.0.1:{port}",
            *flags,
        )
        url = f"http://127.0.0.1:{port}"
        until(lambda: ask(f"{url}/-/ready"), "prometheus")
        return url

    def samples(self, url, end):
        """All that was scraped until a moment, by series."""
        query = f"{url}/api/v1/query?query=" + urllib.request.quote('{job="self"}[1h]') + f"&time={end}"
        found = json.loads(ask(query))["data"]["result"]
        return {json.dumps(s["metric"], sort_keys=True): s["values"] for s in found}

    def test_a_snapshot_restored_holds_the_same_samples(self):
        data, again = self.folder / "data", self.folder / "again"
        again.mkdir()
        url = self.prometheus(data, "--web.enable-admin-api")
        until(lambda: len(next(iter(self.samples(url, time.time()).values()), [])) > 2, "samples")
        end = int(time.time())
        until(lambda: time.time() > end + 1, "the next second")
        before = self.samples(url, end)
        self.assertGreater(len(before), 100)
        self.run_script("backup.sh", "prometheus", PROMETHEUS_URL=url, PROMETHEUS_DATA=data)
        self.assertEqual(list((data / "snapshots").iterdir()), [], "the snapshot is removed once it is saved")
        self.run_script("restore.sh", "prometheus", PROMETHEUS_DATA=again)
        restored = self.prometheus(again)
        self.assertEqual(self.samples(restored, end), before)

    def test_without_the_admin_api_it_says_so_and_fails(self):
        data = self.folder / "data"
        url = self.prometheus(data)
        done = self.run_script("backup.sh", "prometheus", PROMETHEUS_URL=url, PROMETHEUS_DATA=data, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--web.enable-admin-api", done.stderr)
        self.assertEqual(self.archives("prometheus"), [])


@wants(shutil.which("prometheus-pushgateway"), "prometheus-pushgateway")
class Pushgateway(Rehearsal):
    def pushed(self, url):
        text = ask(f"{url}/metrics")
        return {
            (what, component): float(value)
            for what, component, value in re.findall(
                r'weir_stack_backup_last_(\w+)_timestamp_seconds\{component="(\w+)".*job="weir-stack-backup"\} (\S+)', text
            )
        }

    def rehearse(self, **more):
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        # Debian's keeps what it was told in a file of the machine, unless it is told another.
        kept = f"--persistence.file={self.folder}/pushgateway"
        self.start("prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{port}", kept)
        until(lambda: ask(f"{url}/-/ready"), "pushgateway")
        data = self.grafana()
        began = time.time() - 1
        self.run_script("backup.sh", "grafana", GRAFANA_DATA=data, PUSHGATEWAY_URL=url, **more)
        first = self.pushed(url)
        self.assertEqual(set(first), {("success", "grafana")})
        self.assertGreaterEqual(first["success", "grafana"], began)
        # A failure leaves the time of the last success as it was.
        self.run_script(
            "backup.sh", "grafana", GRAFANA_DATA=self.folder / "no", PUSHGATEWAY_URL=url, check=False, **more
        )
        second = self.pushed(url)
        self.assertEqual(second["success", "grafana"], first["success", "grafana"])
        self.assertGreaterEqual(second["failure", "grafana"], first["success", "grafana"])
        self.run_script("backup.sh", "loki", LOKI_DATA=self.folder, PUSHGATEWAY_URL=url, check=False, **more)
        self.assertEqual({component for _, component in self.pushed(url)}, {"grafana", "loki"})

    def test_times_are_pushed(self):
        self.rehearse()

    @wants(BUSYBOX, "busybox")
    def test_times_are_pushed_without_curl(self):
        tools = self.folder / "bin"
        tools.mkdir()
        for applet in APPLETS:
            (tools / applet).symlink_to(BUSYBOX)
        self.rehearse(PATH=tools, shell=[BUSYBOX, "sh"])

    def test_a_pushgateway_that_is_not_there_is_a_failure_and_the_archive_stays(self):
        data = self.grafana()
        url = f"http://127.0.0.1:{free_port()}"
        done = self.run_script("backup.sh", "grafana", GRAFANA_DATA=data, PUSHGATEWAY_URL=url, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("did not take its time", done.stderr)
        self.assertEqual(len(self.archives("grafana")), 1)


@wants(POSTGRES, "postgresql")
class Postgres(Rehearsal):
    """PostgreSQL refuses to run as root: as `nobody` there, and as whoever runs the tests elsewhere."""

    def setUp(self):
        super().setUp()
        self.user = {"user": "nobody"} if os.getuid() == 0 else {}
        self.bin = POSTGRES[-1]
        self.cluster = self.folder / "cluster"
        self.cluster.mkdir()
        self.folder.chmod(0o755)
        if self.user:
            shutil.chown(self.cluster, "nobody")
        self.password = self.folder / "password"
        # A newline at the end, as most people's files have.
        self.password.write_text("correct horse\n")
        self.password.chmod(0o644)
        self.port = free_port()
        subprocess.run(
            [self.bin / "initdb", "-D", self.cluster / "data", "-U", "grafana", f"--pwfile={self.password}"]
            + ["-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C"],
            check=True, capture_output=True, cwd="/", **self.user,
        )  # fmt: skip
        server = subprocess.Popen(
            [self.bin / "postgres", "-D", self.cluster / "data", "-p", str(self.port), "-h", "127.0.0.1"]
            + ["-k", self.cluster, "-c", "fsync=off"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **self.user,
        )  # fmt: skip
        self.addCleanup(server.wait, 30)
        # Immediate: nothing of it is kept.
        self.addCleanup(server.send_signal, signal.SIGQUIT)
        self.libpq = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": "grafana",
            "PATH": f"{self.bin}:{os.environ['PATH']}",
        }
        until(lambda: self.psql("postgres", "select 1", check=False).returncode == 0, "postgresql")
        self.psql("postgres", "create database grafana")

    def psql(self, database, sql, check=True):
        env = {**self.libpq, "PGPASSWORD": "correct horse"}
        return subprocess.run(
            [self.bin / "psql", "-qtAX", "-d", database, "-c", sql], env=env, check=check, capture_output=True, text=True
        )

    def said(self, **more):
        return {**self.libpq, "PGPASSWORD_FILE": self.password, **more}

    def test_a_database_is_saved_lost_and_restored(self):
        self.psql(
            "grafana",
            "create table dashboard (id serial primary key, title text not null, data jsonb, at timestamptz default now());"
            "insert into dashboard (title, data) select 'Ü ' || n, jsonb_build_object('n', n) from generate_series(1, 1000) n;"
            "create unique index on dashboard (title); create view recent as select title from dashboard where id > 900;",
        )
        read = "select md5(string_agg(d::text, ',' order by id)) || (select count(*) from recent) from dashboard d"
        before = self.psql("grafana", read).stdout
        self.run_script("backup.sh", "postgres", **self.said())
        self.psql("postgres", "drop database grafana")
        self.psql("postgres", "create database grafana")
        self.run_script("restore.sh", "postgres", **self.said())
        self.assertEqual(self.psql("grafana", read).stdout, before)
        # Sequences too: the next row has the next number.
        self.assertEqual(self.psql("grafana", "insert into dashboard (title) values ('new') returning id").stdout, "1001\n")

    def test_a_database_with_tables_is_not_written_to(self):
        self.psql("grafana", "create table a (n int); insert into a values (1)")
        self.run_script("backup.sh", "postgres", **self.said())
        self.psql("grafana", "update a set n = 2")
        done = self.run_script("restore.sh", "postgres", check=False, **self.said())
        self.assertIn("has 1 tables: restore into an empty one", done.stderr)
        self.assertEqual(self.psql("grafana", "select n from a").stdout, "2\n")

    def test_a_wrong_password_and_a_missing_database_fail(self):
        wrong = self.folder / "wrong"
        wrong.write_text("wrong\n")
        for more in ({"PGPASSWORD_FILE": wrong}, {"PG_DATABASES": "grafana shop"}):
            done = self.run_script("backup.sh", "postgres", check=False, **self.said(**more))
            self.assertEqual(done.returncode, 1)
            self.assertEqual(self.archives("postgres"), [])
            self.assertEqual(list(self.times("postgres")), ["failure"])


if __name__ == "__main__":
    unittest.main()
