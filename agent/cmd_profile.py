"""bms-agent profile check, profile show: is a profile right, and what will it do?"""

import json
from argparse import Namespace

from agent.cmd_check import profile_lines
from agent.render_profile import profile_table, profile_values
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path


def main(arguments: Namespace) -> int:
    """Check or show one profile; wrong input raises, with every mistake."""
    profile, database = load_profile(profile_path(arguments.file), arguments.dbc)
    if arguments.action == "check":
        lines = profile_lines(profile, database)
    elif arguments.json:
        document = json.dumps(profile_values(profile, database), ensure_ascii=False, indent=1)
        lines = iter(document.splitlines())
    else:
        lines = profile_table(profile, database)
    for line in lines:
        print(line)  # noqa: T201 - the command's output
    return 0
