"""How to reach a SuperLink, and what to tell a SuperNode, in the words of Flower's command lines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError


@dataclass(frozen=True)
class SuperLink:
    """How to reach a SuperLink.

    Args:
        address: host:port.
        insecure: Without TLS.
        ca: PEM file of the CA to trust; None for the system's.
        secret: File with the SuperLink's SuperExec secret, where it has one.
    """

    address: str
    insecure: bool = False
    ca: Path | None = None
    secret: Path | None = None

    @classmethod
    def parse(cls, text: str) -> SuperLink:
        """Read `host:port[,ca=FILE][,secret=FILE][,insecure]`.

        Raises:
            UserError: It is none, or names a file that is not there.
        """
        address, *options = [part.strip() for part in text.split(",")]
        host, _, port = address.rpartition(":")
        files: dict[str, Path] = {}
        for option in options:
            name, _, value = option.partition("=")
            if option != "insecure" and (name not in ("ca", "secret") or not value):
                raise UserError(
                    f"`superlink={text}` has an option `{option}`; "
                    "known are `ca=FILE`, `secret=FILE` and `insecure`."
                )
            if value:
                files[name] = Path(value).expanduser().absolute()
                if not files[name].is_file():
                    raise UserError(
                        f"`superlink={text}` names `{value}`, which is no file; give an existing one."
                    )
        if not host or not port.isdecimal() or ("insecure" in options and "ca" in files):
            raise UserError(
                f"`superlink={text}` is not understood; "
                "write `host:port` with `,ca=FILE` or `,insecure` after it."
            )
        return cls(address, "insecure" in options, files.get("ca"), files.get("secret"))

    def flags(self) -> list[str]:
        """As Flower's programs take it."""
        if self.insecure:
            return ["--insecure"]
        return [] if self.ca is None else ["--root-certificates", str(self.ca)]

    def connection(self) -> str:
        """As `flwr run` reads it from its configuration."""
        lines = [
            "[superlink]",
            'default = "bench"',
            "[superlink.bench]",
            f"address = {json.dumps(self.address)}",
        ]
        if self.insecure:
            lines.append("insecure = true")
        elif self.ca is not None:
            lines.append(f"root-certificates = {json.dumps(str(self.ca))}")
        return "\n".join(lines) + "\n"


def quoted(path: Path) -> str:
    """A path as a string of Flower's `--node-config`.

    Raises:
        UserError: It cannot be written there.
    """
    text = str(path)
    if "'" not in text:
        return f"'{text}'"
    if '"' in text or "\\" in text:
        raise UserError(f"`{text}` cannot be given to a SuperNode; use a folder without quotes in its name.")
    return f'"{text}"'
