"""Time travel: the whole agent on the clock of a log, as fast as the machine can, always alike."""
