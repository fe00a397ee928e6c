"""Texts from the templates of the package."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


ENVIRONMENT = Environment(
    loader=PackageLoader("hiersum_hf"),
    autoescape=select_autoescape(disabled_extensions=("md",), default=True, default_for_string=True),
    undefined=StrictUndefined,
)


def render(template: str, **values: Any) -> str:
    """Fill a template, with every value escaped except in Markdown.

    Raises:
        jinja2.UndefinedError: The template names a value that is not given.
    """
    return ENVIRONMENT.get_template(template).render(values)
