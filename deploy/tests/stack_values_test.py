"""Every value that the stack's chart sets for a foreign chart is a value of that chart, in the version that is pinned."""

import importlib.machinery
import importlib.util
import os
import unittest

import chart
import stack
import stack_checks as checks

FOLDER = chart.DEPLOY / "tests/subcharts"
HOW = {"default", "open", "option", "ini", "commented", "read"}
REAL = os.environ.get("WEIR_SUBCHARTS")


def record():
    loader = importlib.machinery.SourceFileLoader("record", str(FOLDER / "record"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("record", loader))
    loader.exec_module(module)
    return module


class Values(unittest.TestCase):
    def test_every_value_was_looked_up_in_the_pinned_version(self):
        for name in stack.FOREIGN:
            head, *lines = (FOLDER / f"{name}.txt").read_text().splitlines()
            (version,) = [d["version"] for d in stack.ABOUT["dependencies"] if d["name"] == name]
            self.assertTrue(head.startswith(f"# {name} {version}:"), f"{name} {version}: run deploy/tests/subcharts/record")
            found = {line.split(" ")[0]: line.split(" ")[1] for line in lines}
            wanted = {"/".join(path) for path in record().set_for(name)}
            self.assertEqual(set(found), wanted, "run deploy/tests/subcharts/record")
            for path, how in found.items():
                self.assertIn(how, HOW, f"{name}: {path} is no value of it")


@unittest.skipIf(not REAL, "WEIR_SUBCHARTS names no folder with the real charts")
class Real(unittest.TestCase):
    """The real charts, where somebody has them; their repositories cannot be reached from the tests."""

    def test_they_render_into_valid_objects_that_have_the_names_that_are_relied_on(self):
        files = {name: stack.values_file(name) for name in (p.name for p in stack.CHART.glob("values-*.yaml"))}
        parts = stack.merged(files["values-loki-object-storage.yaml"], files["values-loki-distributed.yaml"])
        for name, values in {"default": {}, **files, "values-loki-distributed.yaml": parts}.items():
            found = stack.objects(values, REAL)
            core = [o for o in found if "coreos.com" not in o["apiVersion"] and "apiextensions" not in o["apiVersion"]]
            self.assertEqual(chart.faults(core, ["1.32"]), [], name)
            services = checks.named(found, "Service")
            self.assertLessEqual({"weir-stack-prometheus", "weir-stack-alertmanager", "weir-stack-grafana"}, services, name)
            self.assertIn("weir-stack-loki-gateway" if values is parts else "weir-stack-loki", services, name)
        found = stack.objects({}, REAL)
        self.assertIn(checks.CLAIMS["grafana"], checks.named(found, "PersistentVolumeClaim"))
        loki = chart.one(found, "StatefulSet", "weir-stack-loki")
        (claim,) = loki["spec"]["volumeClaimTemplates"]
        self.assertEqual(f"{claim['metadata']['name']}-{loki['metadata']['name']}-0", checks.CLAIMS["loki"])
        (prometheus,) = [o for o in found if o["kind"] == "Prometheus"]
        self.assertEqual(prometheus["metadata"]["name"], "weir-stack-prometheus")


if __name__ == "__main__":
    unittest.main()
