"""Profiles that come with the project, by name."""

from importlib.resources import files
from pathlib import Path

from bms_can.errors import BadInput

PACKAGE = "dbc"


def shipped_names() -> tuple[str, ...]:
    """Return the names of all shipped profiles."""
    found = (Path(item.name) for item in files(PACKAGE).iterdir())
    return tuple(sorted(path.stem for path in found if path.suffix == ".toml"))


def profile_path(name_or_path: str) -> Path:
    """Return the TOML file of a shipped profile, or the path itself if it is one.

    Raises:
        BadInput: it is neither.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.is_file():
        return path
    shipped = Path(str(files(PACKAGE).joinpath(f"{name_or_path}.toml")))
    if shipped.is_file():
        return shipped
    names = ", ".join(shipped_names())
    raise BadInput(name_or_path, [f"is neither a TOML file nor a shipped profile ({names})"])
