"""bms-agent batteries: the profiles that come with the project, and how well each is known."""

import json
from argparse import Namespace

from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path, shipped_names


def main(arguments: Namespace) -> int:
    """Print one paragraph for each battery, or one JSON document."""
    profiles = [load_profile(profile_path(name))[0] for name in shipped_names()]
    if arguments.json:
        print(json.dumps([_facts(each) for each in profiles], indent=2, ensure_ascii=False))  # noqa: T201 - the command's output
        return 0
    print("\n\n".join(_paragraph(each) for each in profiles))  # noqa: T201 - the command's output
    return 0


def _facts(profile: Profile) -> dict[str, object]:
    return {
        "name": profile.name,
        "description": profile.description,
        "maker": profile.maker,
        "commands": [code.name.lower() for code in profile.commands],
        "read_only": profile.read_only_reason or None,
        "source": profile.source or None,
        "verified": profile.verified or None,
    }


def _paragraph(profile: Profile) -> str:
    commands = ", ".join(code.name.lower() for code in profile.commands)
    rows = (
        ("commands", commands),
        ("read-only", profile.read_only_reason),
        ("source", profile.source),
        ("verified", profile.verified),
    )
    head = f"{profile.name:<15} {profile.description}"
    return "\n".join((head, *(f"    {name:<10} {text}" for name, text in rows if text)))
