"""What goes wrong, in one sentence each: what was wrong, what was got, what to do."""

from collections.abc import Iterable


class UserError(Exception):
    """The user's input was wrong; the command line shows the sentence alone and exits 2."""


class RunFailed(Exception):
    """The run itself failed; the command line shows the sentence alone and exits 1."""


class MissingExtra(UserError):
    """A feature needs an optional dependency.

    Args:
        feature: What was asked for, as the user would say it.
        extra: Name of the extra in `pyproject.toml`.
    """

    def __init__(self, feature: str, extra: str):
        super().__init__(f"{feature} needs packages that are not installed; run `{pip_line(extra)}`.")


def pip_line(extra: str) -> str:
    """The command that installs an extra."""
    return f'pip install "fedmedgen-bench[{extra}]"'


def suggest(word: str, options: Iterable[str]) -> str:
    """Return ` Did you mean `x`?` for the closest option, or an empty string."""
    import difflib

    close = difflib.get_close_matches(word, list(options), n=1, cutoff=0.5)
    return f" Did you mean `{close[0]}`?" if close else ""
