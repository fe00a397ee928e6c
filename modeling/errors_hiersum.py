"""Errors of HierSum in the kinds that a caller tells apart.

Those of the system, such as `FileNotFoundError` and `PermissionError`, are raised as they are.
"""


class HierSumError(ValueError):
    """Report a value that HierSum refuses.

    The value is a setting, an argument, or one of the kinds below. The text says what was expected,
    what was found and what to do, and names the file or video.
    """


class InputError(HierSumError):
    """Report a video, text or data file that cannot be read.

    It is broken or is not what its name says; others may well be read.
    """


class CheckpointError(HierSumError):
    """Report a folder that is no checkpoint, or what belongs to another.

    Features and settings may belong to another checkpoint than this one.
    """


def expect_type(name: str, value: object, kinds: type | tuple[type, ...], expected: str) -> None:
    """Refuse an argument of another type in one line.

    Args:
        name: The argument.
        value: What was given for it.
        kinds: What it may be.
        expected: The same in words, and how to get one.

    Raises:
        HierSumError: It is none of them.
    """
    if not isinstance(value, kinds):
        found = " ".join(f"{type(value).__name__} {value!r:.60}".split())
        raise HierSumError(f"{name}: expected {expected}, found {found}.")
