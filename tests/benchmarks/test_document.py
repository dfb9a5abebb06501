"""Where the documentation has room for figures."""

from __future__ import annotations

from pathlib import Path

from docutils.core import publish_doctree
from docutils.nodes import system_message
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.document import fill
from benchmarks.house import BenchError

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.rst"
NAMES = ("loopback", "outage", "onion", "reporters")


class DocumentTests(SynchronousTestCase):
    """Figures are put in by the benchmark, never by hand."""

    def test_new_figures_take_the_place_of_old_ones(self) -> None:
        """Filling it twice leaves the second figures, and all of the text around."""
        text = "before\n\n.. figures: a\n\nold\n.. end of figures\n\nafter\n"
        once = fill(text, {"a": ["1", r"\1 is text", ""]})
        self.assertEqual(once, "before\n\n.. figures: a\n\n1\n\\1 is text\n\n.. end of figures\n\nafter\n")
        self.assertEqual(fill(once, {"a": ["old"]}), text)

    def test_what_was_not_measured_stays(self) -> None:
        """`--only` renews its own figures alone."""
        text = ".. figures: a\nold\n.. end of figures\n.. figures: b\nold\n.. end of figures\n"
        self.assertEqual(fill(text, {"b": ["new"]}).count("old"), 1)

    def test_figures_without_a_place_are_an_error(self) -> None:
        """Nobody believes that a document was renewed which was not."""
        with self.assertRaisesRegex(BenchError, "figures: a"):
            fill("nothing here\n", {"a": []})

    def test_the_document_has_room_for_all(self) -> None:
        """`docs/performance.rst` takes what each measurement prints, and is sound reStructuredText."""
        filled = fill(DOCUMENT.read_text(), {name: [f"measured: {name}", ""] for name in NAMES})
        tree = publish_doctree(filled, settings_overrides={"report_level": 5})
        self.assertEqual([str(message) for message in tree.findall(system_message)], [])
        self.assertTrue(all(f"measured: {name}" in tree.astext() for name in NAMES))
