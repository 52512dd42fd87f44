"""Sync agent on the box: reports battery status to the platform and carries out its commands."""
