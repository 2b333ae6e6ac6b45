"""Every two positions of any two switches of the stack's chart render whole or are refused with a sentence.

Each pair is set over the defaults, and not hidden in a larger row: a row that one pair makes refused says nothing of its
others. Beside that a few rows with a position of every switch, which together have every pair too, go through the same
checks. WEIR_CASES=N adds N rows by chance.
"""

import itertools
import os
import random
import unittest

import helm_python as helm

import stack
import stack_checks as checks
from stack_cases import SWITCHES, both


def position(tree):
    """A position of a switch as values; {"file": …} and {"files": …} are files of the chart."""
    if "file" in tree:
        return stack.values_file(tree["file"])
    if "files" in tree:
        return both(*(stack.values_file(name) for name in tree["files"]))
    return tree


POSITIONS = {name: [position(tree) for tree in trees] for name, trees in SWITCHES.items()}


def outcome(values):
    """None if it is refused with a sentence; else what is wrong with it."""
    try:
        found = stack.objects(values, "light")
    except helm.HelmError as error:
        sentences = stack.refusals(error)
        if sentences and all(" " in s and len(s) > 30 for s in sentences):
            return None
        return [f"neither rendered nor refused with a sentence: {str(error)[:500]}"]
    return checks.faults(found)


def rows(choose):
    """Rows of positions, one of each switch, that together have every pair: each takes greedily what is missing most."""
    names = sorted(POSITIONS)
    missing = {
        frozenset([(a, i), (b, j)])
        for a, b in itertools.combinations(names, 2)
        for i in range(len(POSITIONS[a]))
        for j in range(len(POSITIONS[b]))
    }
    while missing:
        row = {}
        (a, i), (b, j) = sorted(sorted(missing, key=sorted)[0])
        row[a], row[b] = i, j
        for name in choose.sample(names, len(names)):
            if name not in row:
                gains = [
                    (sum(frozenset([(name, n), other]) in missing for other in row.items()), -n, n)
                    for n in range(len(POSITIONS[name]))
                ]
                row[name] = max(gains)[2]
        missing -= {frozenset(pair) for pair in itertools.combinations(row.items(), 2)}
        yield row


class Pairs(unittest.TestCase):
    def test_each_position_can_be_used_by_itself(self):
        for name, positions in POSITIONS.items():
            for n, values in enumerate(positions):
                with self.subTest(f"{name} {n}"):
                    self.assertEqual(outcome(values), [])

    def test_every_pair_renders_whole_or_is_refused_with_a_sentence(self):
        rendered = refused = 0
        for (a, first), (b, second) in itertools.combinations(POSITIONS.items(), 2):
            # Position 0 of both is the default; with 0 of one the other is by itself.
            for i, j in itertools.product(range(1, len(first)), range(1, len(second))):
                with self.subTest(f"{a} {i} with {b} {j}"):
                    said = outcome(both(first[i], second[j]))
                    self.assertIn(said, (None, []))
                    refused += said is None
                    rendered += said == []
        # What is refused is the exception: a chart that refuses all would pass everything else.
        self.assertGreater(rendered, 4 * refused, f"{rendered} rendered, {refused} refused")

    def test_rows_of_all_switches_render_whole_or_are_refused_with_a_sentence(self):
        choose = random.Random(7)
        for row in rows(choose):
            with self.subTest(str(row)):
                self.assertIn(outcome(both(*(POSITIONS[name][n] for name, n in row.items()))), (None, []))
        for _ in range(int(os.environ.get("WEIR_CASES", 0))):
            some = {name: choose.randrange(len(p)) if choose.random() < 0.3 else 0 for name, p in POSITIONS.items()}
            with self.subTest(str(some)):
                self.assertIn(outcome(both(*(POSITIONS[name][n] for name, n in some.items()))), (None, []))

    def test_rows_have_every_pair(self):
        have = set()
        for row in rows(random.Random(7)):
            have |= {frozenset(pair) for pair in itertools.combinations(row.items(), 2)}
        for (a, first), (b, second) in itertools.combinations(sorted(POSITIONS.items()), 2):
            for i, j in itertools.product(range(len(first)), range(len(second))):
                self.assertIn(frozenset([(a, i), (b, j)]), have)


if __name__ == "__main__":
    unittest.main()
