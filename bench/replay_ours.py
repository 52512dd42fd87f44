"""Our part of `make bench-replay`, a process of its own: every signal of a log as arrays."""

import argparse
import sys

from bms_can.columnar.ahead import ahead
from bms_can.columnar.decode import Decoder
from bms_can.columnar.scan import scan
from bms_can.database import load


def main() -> int:
    """Decode a log and print how much it held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log")
    parser.add_argument("dbc")
    parser.add_argument("--cores", type=int, default=1)
    asked = parser.parse_args()
    decoder = Decoder(load(asked.dbc))
    chunks = scan(asked.log)
    frames = values = 0
    for chunk in ahead(chunks) if asked.cores > 1 else chunks:
        frames += len(chunk)
        for columns in decoder.decode(chunk):
            for mask in columns.valid.values():
                values += len(columns.rows) if mask is None else int(mask.sum())
    print(f"frames={frames} values={values}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
