"""What a recorded log says about itself, its DBC and its battery. Needs numpy (extra [replay]).

source.py       any log -> chunks of columns
log_tally.py    chunks -> running sums per identifier: stream.py with timing.py, counters.py,
                checksums.py, isotp.py
signal_tally.py the same per signal of the DBC, with series.py for plots
judge*.py       sums -> findings (finding.py), each with its evidence
examination.py  all of it in one pass, in constant memory
"""
