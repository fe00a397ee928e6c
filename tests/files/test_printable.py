"""Texts of strangers on the terminal and in cards."""

import pytest

from hiersum_hf.files.escape import in_card, in_code, in_markdown, printable, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Crème brûlée, 東京 👩‍🍳", "Crème brûlée, 東京 👩‍🍳"),
        ("می‌خواهم", "می‌خواهم"),
        ("東京\u3000タワー\xa0x", "東京 タワー x"),
        ("a\x1b[31m\nb\u202e\x9b\udc80", r"a\x1b[31m\nb\u202e\x9b\udc80"),
    ],
)
def test_what_moves_the_cursor_is_escaped_and_what_people_write_is_not(text, shown):
    assert printable(text) == shown


def test_lines_stay_lines():
    assert printable_lines("a\nb\x0bc\u2028d\r") == "a\nb\\x0bc\\u2028d\\r"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tvsum, drawn#3 (0.5 - 1)", "tvsum, drawn#3 (0.5 - 1)"),
        ("12.5% of 3", "12.5% of 3"),
        ("# a #", r"\# a \#"),
        ("- a", r"\- a"),
        ("---", r"\---"),
        ("12. a", r"12\. a"),
        ("[a](b) <b> `c` |d|", r"\[a\](b) \<b\> \`c\` \|d\|"),
        (3, "3"),
    ],
)
def test_markdown_shows_it_as_it_is(text, shown):
    assert in_markdown(text) == shown


def test_names_in_cards_are_short_lines():
    assert in_card("a\n" * 999) == r"a\\n" * 500
    assert in_code("a` \n" * 999) == ("a' " * 500)[:1000]
