"""Templates: what comes from data stays text, and a name that nobody gave is an error, not a blank."""

import re
from pathlib import Path

import pytest
from jinja2 import DictLoader, UndefinedError

from hiersum_hf.files.templates import ENVIRONMENT, render


TEMPLATES = Path(__file__).parents[2] / "hiersum_hf" / "templates"


@pytest.mark.parametrize("name", ["summary.html.j2", "report.html.j2", "model_card.md"])
def test_an_undefined_name_in_a_template_raises(name):
    with pytest.raises(UndefinedError, match="is undefined"):
        render(name)


def test_values_are_escaped_in_html_and_not_in_markdown(monkeypatch):
    names = ("a.html.j2", "a.html", "a.txt", "a.md")
    monkeypatch.setattr(ENVIRONMENT, "loader", DictLoader(dict.fromkeys(names, "{{ title }}")))
    filled = [render(name, title='<b>"it\'s" &') for name in names]
    assert filled == 3 * ["&lt;b&gt;&#34;it&#39;s&#34; &amp;"] + ['<b>"it\'s" &']


def test_nothing_but_the_curve_is_put_in_as_markup():
    """`safe` switches escaping off, and so does a block without autoescape."""
    pages = [path.read_text() for path in TEMPLATES.glob("*.j2")]
    assert len(pages) == 3
    assert re.findall(r"\S+ ?\| ?safe|autoescape", "".join(pages)) == ["summary.to_svg() | safe"]
