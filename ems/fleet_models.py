"""Shapes of the answers about the fleet and the journals, for the OpenAPI document."""

from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from ems.answer_models import StatusData, Success


class FleetLine(StatusData):
    """A device at a glance."""

    name: str
    location: str | None
    stale: bool
    age_ms: int | None = Field(description="age of the newest observation; null: none, or no age")
    alarm_level: Literal[1, 2, 3] | None = Field(description="highest level of an active alarm")
    box: dict[str, JsonValue] = Field(
        description="version, battery, lockout, read_only, tx_unsafe, foreign_master, bus_trouble"
    )
    two_step: bool
    unfinished: int = Field(description="commands in progress")
    journal_contradictions: int
    heartbeat_time: str | None


class HeadData(BaseModel):
    """A head of a box's journal."""

    seq: int
    hash: str
    verdict: Literal["first", "grown", "rewritten", "shrunk"]
    status_sequence: int
    received_at: str


class FleetPage(BaseModel):
    """A page of devices."""

    total: int
    list: list[FleetLine]


class HeadPage(BaseModel):
    """A page of heads; `contradictions` counts rewritten and shrunk ones among all."""

    total: int
    contradictions: int
    list: list[HeadData]


class FleetPageAnswer(Success):
    """Devices at a glance."""

    data: FleetPage


class HeadPageAnswer(Success):
    """Heads of a journal."""

    data: HeadPage
