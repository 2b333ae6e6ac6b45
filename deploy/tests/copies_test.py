"""What charts and kustomizations need within their own folders is copied there, and copies are equal to what they are of.

WEIR_UPDATE=1 deploy/tests/run copies all anew, and removes copies of what is no longer there.
"""

import os
import unittest

import chart

HELM = chart.DEPLOY / "helm"
# Folder of the originals, pattern, folders of the copies.
COPIED = [
    (chart.ROOT / "dashboards", "*.json", [HELM / "weir/files/dashboards", HELM / "weir-stack/files/dashboards"]),
    (chart.DEPLOY / "rules", "*.yaml", [HELM / "weir/files/rules", HELM / "weir-stack/files/rules"]),
    (chart.DEPLOY / "rules/loki", "*.yaml", [HELM / "weir-stack/files/loki-rules"]),
    (chart.DEPLOY / "alertmanager", "*.*", [HELM / "weir-stack/files/alertmanager"]),
    (chart.DEPLOY / "backup", "*.sh", [HELM / "weir-stack/files/backup"]),
]
# Beside the copies, for kustomize.
BESIDE = {"kustomization.yaml"}


class Copies(unittest.TestCase):
    def test_copies_are_equal_to_their_originals(self):
        for originals, pattern, folders in COPIED:
            wanted = {path.name: path.read_bytes() for path in originals.glob(pattern)}
            self.assertTrue(wanted, f"{originals}/{pattern}: nothing is there")
            for folder in folders:
                if chart.UPDATE:
                    folder.mkdir(parents=True, exist_ok=True)
                    for path in folder.iterdir():
                        if path.name not in wanted and path.name not in BESIDE:
                            path.unlink()
                    for name, content in wanted.items():
                        (folder / name).write_bytes(content)
                found = {p.name: p for p in folder.iterdir() if p.name not in BESIDE}
                self.assertEqual(set(found), set(wanted), f"{folder}: WEIR_UPDATE=1 deploy/tests/run copies them")
                for name, path in found.items():
                    self.assertFalse(path.is_symlink(), f"{path}: helm package and kustomize follow no links")
                    same = path.read_bytes() == wanted[name]
                    self.assertTrue(same, f"{path} differs: WEIR_UPDATE=1 deploy/tests/run copies it")

    def test_scripts_can_be_run(self):
        for path in (chart.DEPLOY / "backup").glob("*.sh"):
            self.assertTrue(os.access(path, os.X_OK), path)


if __name__ == "__main__":
    unittest.main()
