"""The recipes that come with the package: YAML files of flags for a training run."""

from __future__ import annotations

import difflib
from pathlib import Path


RECIPES = Path(__file__).with_name("recipes")
SUFFIXES = (".yaml", ".yml")


def recipe_names() -> list[str]:
    """Names the recipes of the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def find_recipe(word: str) -> Path:
    """Finds a recipe of the package by its name, or any other by its path.

    Raises:
        FileNotFoundError: Neither; names the recipe that comes nearest.
    """
    if word in recipe_names():
        return RECIPES / f"{word}.yaml"
    path = Path(word)
    if path.suffix in SUFFIXES and path.is_file():
        return path
    (near,) = difflib.get_close_matches(path.stem, recipe_names(), n=1, cutoff=0)
    raise FileNotFoundError(
        f"{word}: expected a recipe's name or a YAML file, found neither. Did you mean {near}? `hiersum train --list` "
        "shows all recipes."
    )


def list_recipes() -> str:
    """Lists the recipes, a line each: its name and the first line of its comment."""
    names = recipe_names()
    width = max(map(len, names))
    return "\n".join(f"{name:{width}}  {headline(name)}" for name in names)


def headline(name: str) -> str:
    """Reads what a recipe of the package says of itself in its first line."""
    return find_recipe(name).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
