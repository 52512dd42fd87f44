"""What --profile and --dbc name: the battery that frames are held against."""

from argparse import Namespace

from bms_can.database import Database, load
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path


def battery_of(arguments: Namespace) -> tuple[Profile | None, Database | None]:
    """Return the profile and DBC that were named, None for what was not.

    Raises:
        BadInput: a file is wrong.
    """
    if arguments.profile:
        return load_profile(profile_path(arguments.profile), arguments.dbc)
    return None, None if arguments.dbc is None else load(arguments.dbc)
