"""The errors that HierSum raises, apart from those of the system such as `FileNotFoundError` and `PermissionError`."""


class HierSumError(ValueError):
    """Report a value that HierSum refuses: a setting, an argument, or one of the kinds below.

    The text says what was expected, what was found and what to do, and names the file or video.
    """


class InputError(HierSumError):
    """Report a video, text or data file that is broken or is not what its name says: others may well be read."""


class CheckpointError(HierSumError):
    """Report a folder that is no checkpoint, or features and settings that do not belong to this one."""
