"""Packages that only some commands need: a missing one is said in a sentence, with the remedy."""

EXTRAS = {
    "numpy": "replay",
    "pyarrow": "replay",
    "jinja2": "replay",
    "distributed": "cluster",
    "dask": "cluster",
}


def remedy(error: ModuleNotFoundError) -> str | None:
    """Return what to install, or None where it is no extra of ours that is missing."""
    package = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(package)
    if extra is None:
        return None
    return f'{package} is missing; install the extra: pip install "bms-can-agent[{extra}]"'
