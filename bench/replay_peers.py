"""Other people's tools in `make bench-replay`, each a process of its own.

Runs in the venv of the tool, so it imports nothing of ours. What it prints is compared with ours.
"""

import sys


def python_can(log: str, dbc: str) -> str:
    """Read with python-can, decode with cantools, as their manuals show it."""
    import can  # noqa: PLC0415 - only the tool asked for is loaded
    import cantools  # noqa: PLC0415 - same

    database = cantools.database.load_file(dbc)
    assert isinstance(database, cantools.database.Database)  # noqa: S101 - a DBC is one of CAN
    frames = values = 0
    for message in can.LogReader(log):
        frames += 1
        found = database.decode_message(
            message.arbitration_id, bytes(message.data), decode_choices=False
        )
        values += len(found)
    return f"frames={frames} values={values}"


def to_mf4(log: str, mf4: str) -> str:
    """Write the log as the MF4 that asammdf reads; it knows no candump."""
    import can  # noqa: PLC0415 - same

    frames = 0
    with can.Logger(mf4) as logger:
        for message in can.LogReader(log):
            frames += 1
            logger(message)
    return f"frames={frames}"


def asammdf(mf4: str, dbc: str) -> str:
    """Extract the bus log with asammdf and read every value."""
    from asammdf import MDF  # type: ignore[import-not-found]  # noqa: PLC0415 - in .venv-bench

    values = 0
    with MDF(mf4) as log, log.extract_bus_logging({"CAN": [(dbc, 0)]}) as found:
        for signal in found.iter_channels():
            values += len(signal.samples)
    return f"values={values}"


def asammdf_parquet(mf4: str, dbc: str, folder: str) -> str:
    """Extract the bus log with asammdf and export it to Parquet, as it does by default."""
    from pathlib import Path  # noqa: PLC0415 - same

    from asammdf import MDF  # noqa: PLC0415 - in .venv-bench

    Path(folder).mkdir()
    with MDF(mf4) as log, log.extract_bus_logging({"CAN": [(dbc, 0)]}) as found:
        found.export("parquet", filename=f"{folder}/all.parquet")
    return "done"


if __name__ == "__main__":
    print(globals()[sys.argv[1]](*sys.argv[2:]))
