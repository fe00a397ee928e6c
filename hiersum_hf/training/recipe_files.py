"""Recipes that come with the package, YAML files of flags."""

from __future__ import annotations

import difflib
from pathlib import Path


RECIPES = Path(__file__).with_name("recipes")
SUFFIXES = (".yaml", ".yml")


def recipe_names() -> list[str]:
    """Name the recipes of the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def find_recipe(word: str) -> Path:
    """Find a recipe by its name, or by its path.

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
    """List the recipes with the first line of each one's comment."""
    names = recipe_names()
    width = max(map(len, names))
    return "\n".join(f"{name:{width}}  {headline(name)}" for name in names)


def headline(name: str) -> str:
    """Read the first line of a recipe's comment."""
    return find_recipe(name).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
