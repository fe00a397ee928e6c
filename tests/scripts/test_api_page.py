"""docs/api.md is what the docstrings say: a name that is promised is described, and as it is."""

from quality import api_page


def test_the_page_is_what_the_docstrings_say():
    expected = "Run: python scripts/quality/api_page.py"
    assert api_page.PAGE.read_text(encoding="utf-8") == api_page.page(), expected


def test_entries_of_a_section_become_a_list():
    doc = "Do it.\n\nArgs:\n    a: First,\n        and on.\n    b (`int`): Second.\n\nRaises:\n    ValueError: Never."
    assert api_page.markdown(doc) == (
        "Do it.\n\n**Args**\n\n- `a`: First, and on.\n- `b` (`int`): Second.\n\n**Raises**\n\n- `ValueError`: Never.\n"
    )
