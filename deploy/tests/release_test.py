"""The image and the release, as far as they can be read: neither is built here."""

import fnmatch
import re
import unittest

import yaml

import chart

DOCKERFILE = (chart.DEPLOY / "Dockerfile").read_text()
IGNORED = (chart.DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
RELEASE = chart.ROOT / ".github/workflows/release.yml"


def copied():
    """What the build takes from the repository."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.M)
    return {source for line in lines for source in line.split()[:-1]}


class Image(unittest.TestCase):
    def test_all_that_is_copied_is_there_and_not_ignored(self):
        self.assertEqual(IGNORED[1], "*")
        let_in = [line[1:] for line in IGNORED if line.startswith("!")]
        for source in copied():
            self.assertTrue((chart.ROOT / source).exists(), source)
            self.assertTrue(any(source == path or source.startswith(path + "/") for path in let_in), source)
        self.assertEqual(
            {path for path in let_in if not any(s == path or s.startswith(path + "/") for s in copied())}, set()
        )

    def test_all_that_the_program_includes_is_copied(self):
        included = set()
        for path in (chart.ROOT / "agent").rglob("*.rs"):
            for name in re.findall(r'include_(?:bytes|str)!\(\s*"([^"]+)"', path.read_text()):
                included.add((path.parent / name).resolve().relative_to(chart.ROOT).as_posix())
        outside = {path for path in included if not path.startswith("agent/")}
        self.assertTrue(outside)
        missing = {p for p in outside if not any(p == s or p.startswith(s + "/") for s in copied())}
        # Tests of modules are not built into the image.
        self.assertEqual({p for p in missing if not fnmatch.fnmatch(p, "tests/corpus/[!d]*")}, set())

    def test_every_target_of_the_manifest_is_copied(self):
        manifest = (chart.ROOT / "Cargo.toml").read_text()
        if "[[bench]]" in manifest:
            self.assertIn("benches", copied())

    def test_the_toolchain_is_the_one_of_the_manifest(self):
        manifest = (chart.ROOT / "Cargo.toml").read_text()
        version = re.search(r'^rust-version = "(.+)"', manifest, re.M)[1]
        self.assertRegex(DOCKERFILE, rf"rust:{re.escape(version)}\.\d+-")

    def test_the_image_has_no_shell_and_no_floating_part(self):
        last = DOCKERFILE.split("\nFROM ")[-1]
        self.assertTrue(last.startswith("scratch\n"))
        self.assertNotIn("RUN", last)
        for image in re.findall(r"^FROM (?:--platform=\S+ )?(\S+)", DOCKERFILE, re.M):
            self.assertTrue(image == "scratch" or re.search(r":\d+\.\d+\.\d+-|@sha256:", image), image)
        self.assertTrue(all("--checksum=sha256:" in add for add in re.findall(r"^ADD .*$", DOCKERFILE, re.M)))
        self.assertIn("DBIP-LICENSE", DOCKERFILE)

    def test_no_jemalloc(self):
        self.assertNotIn("jemalloc", (chart.ROOT / "Cargo.lock").read_text())

    def test_the_chart_and_the_image_agree(self):
        found = chart.objects()
        env = {e["name"]: e.get("value") for e in chart.agent(found)["env"]}
        folder, _, file = env["WEIR_GEOIP_DB"].rpartition("/")
        self.assertIn(f"COPY --from=build /out/geoip/ {folder}/", DOCKERFILE)
        self.assertIn(f"package/{file}", DOCKERFILE)
        self.assertNotIn("command", chart.agent(found))
        self.assertIn('ENTRYPOINT ["/usr/bin/weir"]', DOCKERFILE)


class Release(unittest.TestCase):
    workflow = yaml.safe_load(RELEASE.read_text())

    def steps(self):
        return [step for job in self.workflow["jobs"].values() for step in job["steps"]]

    def test_no_job_has_rights_that_it_does_not_name(self):
        self.assertEqual(self.workflow["permissions"], {})
        for name, job in self.workflow["jobs"].items():
            self.assertIn("contents", job["permissions"], name)
            self.assertLess(job["timeout-minutes"], 120, name)

    def test_actions_are_pinned_by_commit_or_version(self):
        for step in self.steps():
            if "uses" in step:
                self.assertRegex(step["uses"], r"@([0-9a-f]{40}|v\d+(\.\d+)*)$")

    def test_scripts_take_nothing_that_others_write(self):
        for step in self.steps():
            for what in re.findall(r"\$\{\{(.*?)\}\}", step.get("run", "")):
                self.assertEqual(what.strip(), "matrix.arch", step.get("name"))

    def test_both_architectures_sbom_provenance_and_digest(self):
        text = RELEASE.read_text()
        for words in (
            "linux/amd64,linux/arm64",
            "sbom: true",
            "provenance: mode=max",
            ".image.digest = strenv(DIGEST)",
            "cyclonedx",
        ):
            self.assertIn(words, text)

    def test_the_lines_that_it_greps_for_are_there(self):
        about = (chart.CHART / "Chart.yaml").read_text()
        version = yaml.safe_load(about)["version"]
        self.assertIn(f"\nversion: {version}\n", about)
        self.assertIn(f'\nappVersion: "{version}"\n', about)
        self.assertIn(f'\nversion = "{version}"\n', (chart.ROOT / "Cargo.toml").read_text())


if __name__ == "__main__":
    unittest.main()
