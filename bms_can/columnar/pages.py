"""Which frames carry which multiplexed signals."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bms_can.columnar.extract import Array, Payloads
from bms_can.columnar.plan import MessagePlan, PagePlan

Mask = NDArray[np.bool_]


def on_page(plan: MessagePlan, payloads: Payloads) -> tuple[Mapping[str, Mask | None], Mask | None]:
    """Return for each signal where it is on the frame, and the frames whose pages are all known.

    Frames with an unknown page are left out of the first. None in place of a mask: all.
    """
    if not plan.page.muxes:
        return dict.fromkeys(plan.signals), None
    selected: dict[str, Mask] = {}
    unknown = np.zeros(len(payloads.rows), np.bool_)
    _select(plan.page, payloads, ~unknown, selected, unknown)
    known = ~unknown if unknown.any() else None
    masks: dict[str, Mask | None] = {}
    for name in plan.signals:
        mask = selected.get(name, unknown)
        masks[name] = mask if known is None else mask[known]
    masks.update(dict.fromkeys(plan.page.names & masks.keys()))
    return masks, known


def _select(
    page: PagePlan, payloads: Payloads, here: Mask, selected: dict[str, Mask], unknown: Mask
) -> None:
    """Note the signals of a page for the frames `here`, and what its multiplexers select there."""
    for name in page.names:
        before = selected.get(name)
        selected[name] = here if before is None else before | here
    for mux in page.muxes:
        raw = payloads.raw(mux.plan)
        missing = here.copy()
        for values, child in mux.pages:
            hit = here & _one_of(raw, values)
            missing ^= hit
            _select(child, payloads, hit, selected, unknown)
        unknown |= missing


def _one_of(raw: Array, values: tuple[int, ...]) -> Mask:
    if len(values) == 1 or raw.dtype.hasobject:
        found = np.zeros(len(raw), np.bool_)
        for value in values:
            found |= raw == value
        return found
    if raw.dtype.kind != "f":
        held = np.iinfo(raw.dtype)
        values = tuple(value for value in values if held.min <= value <= held.max)
    return np.isin(raw, np.array(values, raw.dtype))
