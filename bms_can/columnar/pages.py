"""Which frames carry which multiplexed signals."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bms_can.columnar.extract import Array, Payloads
from bms_can.columnar.plan import MessagePlan, PagePlan

Mask = NDArray[np.bool_]
Places = NDArray[np.int64]


def on_page(plan: MessagePlan, payloads: Payloads) -> tuple[Mapping[str, Mask | None], Mask | None]:
    """Return for each signal where it is on the frame, and the frames whose pages are all known.

    Frames with an unknown page are left out of the first. None in place of a mask: all.
    """
    if not plan.page.muxes:
        return dict.fromkeys(plan.signals), None
    count = len(payloads.rows)
    selected = {
        name: np.zeros(count, np.bool_) for name in plan.signals if name not in plan.page.names
    }
    unknown = np.zeros(count, np.bool_)
    _select(plan.page, payloads, np.arange(count), selected, unknown)
    known = ~unknown if unknown.any() else None
    masks: dict[str, Mask | None] = dict.fromkeys(plan.signals)
    for name, mask in selected.items():
        masks[name] = mask if known is None else mask[known]
    return masks, known


def _select(
    page: PagePlan, payloads: Payloads, at: Places, selected: Mapping[str, Mask], unknown: Mask
) -> None:
    for name in page.names & selected.keys():
        selected[name][at] = True
    for mux in page.muxes:
        raw = payloads.raw(mux.plan)[at]
        missing = np.ones(len(at), np.bool_)
        for values, child in mux.pages:
            hit = _one_of(raw, values)
            missing &= ~hit
            _select(child, payloads, at[hit], selected, unknown)
        unknown[at[missing]] = True


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
