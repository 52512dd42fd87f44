"""The held request: closed only while one command holds it, and never again after its end."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bms_can.frame import Frame
from bms_can.held import LATE, LEASE_S, MOST_PERIODS, NEVER, PROOF_GRACE_S, HeldRequest
from bms_can.held_plan import Asked, HeldPlan

REST = Frame(0.0, 0x210, extended=False, data=b"\0" * 8)
CLOSED = REST._replace(data=b"\1" + b"\0" * 7)
RESET = REST._replace(data=b"\4" + b"\0" * 7)
PERIOD_S = 0.1
PLAN = HeldPlan("EMS_Request", REST, PERIOD_S)
FOREVER_S = 1e9


class Bench:
    """A request whose frames come back at once, unless the test says otherwise."""

    def __init__(self, *, renewed: bool = True) -> None:
        self.request = HeldRequest(PLAN)
        self.now_s = 100.0
        self.wire: list[tuple[float, str]] = []
        self.echo = True
        self.loop = renewed
        self.silent = self.breaks = self.cannot = self.stops = ""

    def run(self, seconds: float) -> list[str]:
        """Let time pass in steps of 10 ms; return what went out."""
        before = len(self.wire)
        for _ in range(round(seconds * 100)):
            self.now_s += 0.01
            if self.loop:
                self.request.renew(self.now_s, self.silent, self.breaks, self.stops)
            self.step()
        return [kind for _, kind in self.wire[before:]]

    def step(self, *, takes_s: float = 0.0) -> None:
        """Look once, as the thread that sends does."""
        if self.echo and self.request.on_way is not None:
            self.request.back()
        frame = self.request.due(self.now_s, self.cannot)
        if frame is not None:
            self.wire.append((self.now_s, kind_of(frame)))
            self.now_s += takes_s
            self.request.sent(frame, self.now_s)

    def close(self, command_id: str = "c1", *, proof_s: float = 15.0) -> Asked:
        """Ask for a close."""
        asked = Asked(command_id, CLOSED, FOREVER_S, holds=True, proof_s=proof_s)
        self.request.ask(asked, self.now_s)
        return asked

    def open(self, command_id: str = "o1", count: int = 3) -> Asked:
        """Ask for an open."""
        asked = Asked(command_id, REST, FOREVER_S, count=count, opens=True)
        self.request.ask(asked, self.now_s)
        return asked

    def reset(self, count: int = 3) -> Asked:
        """Ask for a reset."""
        asked = Asked("r1", RESET, FOREVER_S, count=count)
        self.request.ask(asked, self.now_s)
        return asked

    def held(self) -> Asked:
        """Bring it to a proven hold."""
        self.run(1.0)
        asked = self.close()
        self.run(0.5)
        self.request.prove("c1")
        assert set(self.run(2.0)) == {"closed"}
        return asked


def kind_of(frame: Frame) -> str:
    """Return what a frame asks for."""
    return {REST.data: "rest", CLOSED.data: "closed", RESET.data: "reset"}[frame.data]


@pytest.fixture
def bench() -> Bench:
    """Give a bench."""
    return Bench()


def test_rest_goes_out_every_period(bench: Bench) -> None:
    """Ten a second, evenly."""
    assert bench.run(10.0).count("rest") == 100
    gaps = {round(b - a, 3) for (a, _), (b, _) in zip(bench.wire, bench.wire[1:], strict=False)}
    assert gaps == {0.1}
    assert bench.request.at_rest(bench.now_s) == ("", "")
    assert bench.request.skipped == 0


def test_nothing_before_the_first_renewal() -> None:
    """Nobody has judged yet: silence; a close is refused, and no rest has gone out for it."""
    bench = Bench(renewed=False)
    assert bench.run(1.0) == []
    assert bench.request.wait_s(bench.now_s) < PERIOD_S / 10
    assert bench.request.why_silent == NEVER
    assert bench.request.at_rest(bench.now_s) == ("", NEVER)
    asked = bench.close()
    bench.run(0.2)
    assert asked.refused == NEVER
    bench.request.renew(bench.now_s)
    assert bench.request.at_rest(bench.now_s) == ("", "no frame went out before it")


def test_a_close_needs_a_request_that_rests(bench: Bench) -> None:
    """Closed is never the first frame."""
    bench.request.renew(bench.now_s)
    asked = bench.close()
    bench.step()
    assert asked.refused == "no frame went out before it"
    assert bench.run(0.3) == ["rest"] * 3


def test_a_hold_begins_with_its_first_frame_and_lasts(bench: Bench) -> None:
    """Asked, then closed every period, longer than its proof could take."""
    asked = bench.held()
    assert bench.request.at_rest(bench.now_s) == ("c1", "")
    assert set(bench.run(60.0)) == {"closed"}
    assert [kind_of(frame) for frame in asked.frames] == ["closed"]
    assert asked.returned
    assert not asked.refused
    assert not bench.request.ends


def test_an_unproven_hold_ends_by_itself(bench: Bench) -> None:
    """Even if the command forgets it."""
    bench.run(1.0)
    asked = bench.close(proof_s=2.0)
    sent = bench.run(10.0)
    most = round((2.0 + PROOF_GRACE_S) / PERIOD_S) + 1
    assert 20 <= sent.count("closed") <= most
    assert sent[sent.count("closed") :] == ["rest"] * (len(sent) - sent.count("closed"))
    assert asked.refused == "its effect was not proven in time"
    assert not bench.request.ends[0].proven


Harm = Callable[[Bench], None]


def breaks(bench: Bench) -> None:
    """An interlock trips."""
    bench.breaks = "alarm"


def silent(bench: Bench) -> None:
    """Another master."""
    bench.silent = "another master"


def cannot(bench: Bench) -> None:
    """The bus is in doubt right now."""
    bench.cannot = "error-passive"


def hangs(bench: Bench) -> None:
    """The control loop hangs, for longer than its lease."""
    bench.loop = False
    bench.run(LEASE_S)


def opens(bench: Bench) -> None:
    """An open command."""
    bench.open()


def lets_go(bench: Bench) -> None:
    """Its own command ends it."""
    bench.request.end("c1", "local", bench.now_s)


def freezes(bench: Bench) -> None:
    """The process stood still for more than three periods."""
    bench.now_s += MOST_PERIODS * PERIOD_S + 0.02


def loses(bench: Bench) -> None:
    """A frame does not come back."""
    bench.run(0.1)
    while bench.request.on_way is None:
        bench.now_s += 0.01
        bench.request.renew(bench.now_s)
        bench.step()
    bench.request.lost(bench.now_s, 0.0)


def fails(bench: Bench) -> None:
    """The bus does not take a frame."""
    bench.now_s += 0.1
    frame = bench.request.due(bench.now_s)
    assert frame is not None
    bench.request.failed("Transmit buffer full", bench.now_s)


def held_up(bench: Bench) -> None:
    """The process stood still in the middle of a send."""
    bench.now_s += 0.1
    bench.request.back() if bench.request.on_way else None
    bench.step(takes_s=0.07)


@pytest.mark.parametrize(
    "harm", [breaks, cannot, hangs, opens, lets_go, freezes, loses, fails, held_up]
)
def test_each_reason_ends_it_for_good(bench: Bench, harm: Harm) -> None:
    """The next frame is rest, and stays rest when all is well again. The end is kept, once."""
    bench.held()
    harm(bench)
    assert set(bench.run(1.0)) == {"rest"}
    bench.loop, bench.breaks, bench.cannot = True, "", ""
    assert set(bench.run(5.0)) == {"rest"}
    (ended,) = bench.request.ends
    assert (ended.command_id, ended.proven) == ("c1", True)
    assert ended.reason
    assert bench.request.last_end == ended
    assert bench.request.hold is None


def test_another_master_silences(bench: Bench) -> None:
    """The hold ends, and nothing goes out at all; an open still does."""
    bench.held()
    silent(bench)
    assert bench.run(1.0) == []
    asked = bench.open()
    assert bench.run(1.0) == ["rest"] * 3
    assert asked.returned
    bench.silent = ""
    assert set(bench.run(1.0)) == {"rest"}


def test_silence_may_come_between_two_renewals(bench: Bench) -> None:
    """What the sending thread sees itself counts until the next renewal."""
    bench.held()
    bench.request.back() if bench.request.on_way else None
    bench.now_s += 0.1
    assert bench.request.due(bench.now_s, "", "foreign") is None
    assert bench.request.last_end is not None
    assert bench.request.last_end.reason == "foreign"


def test_prove_and_end_of_another_command_change_nothing(bench: Bench) -> None:
    """Only its own command proves or ends a hold."""
    bench.run(1.0)
    bench.close()
    bench.run(0.3)
    bench.request.prove("other")
    assert bench.request.hold is not None
    assert not bench.request.hold.proven
    bench.request.end("other", "", bench.now_s)
    assert bench.request.hold is not None


def test_a_second_close_does_not_end_a_hold(bench: Bench) -> None:
    """It is refused; the first one goes on."""
    bench.held()
    asked = bench.close("c2")
    assert set(bench.run(0.5)) == {"closed"}
    assert asked.refused == "held by command c1"


def test_a_reset_goes_out_at_rest_only(bench: Bench) -> None:
    """So many frames, then rest; refused while closed is held, because it says standby as well."""
    bench.run(1.0)
    asked = bench.reset()
    assert bench.run(0.6) == ["reset"] * 3 + ["rest"] * 3
    assert asked.returned
    bench.held()
    refused = bench.reset()
    assert set(bench.run(0.5)) == {"closed"}
    assert refused.refused == "held by command c1"


def test_a_reset_in_doubt_is_refused(bench: Bench) -> None:
    """An alarm does not keep it off, a bus in doubt does."""
    bench.run(1.0)
    bench.breaks = "alarm"
    asked = bench.reset(count=1)
    assert bench.run(0.2).count("reset") == 1
    assert not asked.refused
    bench.cannot = "error-passive"
    asked = bench.reset()
    assert "reset" not in bench.run(0.5)
    assert asked.refused == "error-passive"
    bench.cannot = ""
    asked = bench.reset()
    bench.run(0.12)
    bench.stops = "local lock-out"
    assert "reset" not in bench.run(0.5)
    assert asked.refused == "local lock-out"


def test_a_frame_that_was_not_taken(bench: Bench) -> None:
    """A close or a reset is over; an open tries again."""
    bench.run(1.0)
    for ask, again in ((bench.close, False), (bench.reset, False), (bench.open, True)):
        asked = ask()
        bench.now_s += 0.1
        bench.request.renew(bench.now_s)
        bench.request.back()
        assert bench.request.due(bench.now_s) is not None
        bench.request.failed("full", bench.now_s)
        assert asked.refused == "full"
        bench.run(0.5)
        assert bool(asked.frames) is again
    assert not bench.request.ends  # a hold without a frame was none
    bench.now_s += 0.1
    bench.request.back()
    bench.request.renew(bench.now_s)
    assert bench.request.due(bench.now_s) is not None
    bench.request.failed("full", bench.now_s)  # rest: with the next period
    assert bench.run(0.2) == ["rest"] * 2


def test_withdrawn_before_and_after_the_first_frame(bench: Bench) -> None:
    """Before it none ever goes out; after it the answer is no, and the hold goes on."""
    bench.run(1.0)
    asked = bench.close()
    assert bench.request.withdraw(asked, "too late")
    assert set(bench.run(0.5)) == {"rest"}
    assert asked.refused == "too late"
    second = bench.close("c2")
    bench.run(0.3)
    assert not bench.request.withdraw(second, "too late")
    assert set(bench.run(0.5)) == {"closed"}
    opening = bench.open()
    bench.run(0.12)
    assert not bench.request.withdraw(opening, "too late")
    assert not bench.request.withdraw(second, "too late")  # over, but frames are out
    assert bench.request.withdraw(asked, "again")
    assert asked.refused == "too late"


def test_who_leaves_takes_all_but_opens_along(bench: Bench) -> None:
    """A hold, and what waits for its first frame; an open still goes out."""
    bench.run(1.0)
    waiting = bench.close()
    bench.request.leave("stops", bench.now_s)
    assert set(bench.run(0.5)) == {"rest"}
    assert waiting.refused == "stops"
    assert bench.request.at_rest_since is None
    bench.close("c2")
    bench.run(0.5)
    bench.request.leave("stops", bench.now_s)
    assert set(bench.run(0.5)) == {"rest"}
    assert bench.request.at_rest_since == 5
    asked = bench.open()
    bench.request.leave("stops", bench.now_s)
    bench.run(0.5)
    assert len(asked.frames) == 3


def test_a_command_whose_life_is_over_sends_nothing(bench: Bench) -> None:
    """Looked at right before the frame, for opens too; an open that has begun goes on."""
    bench.run(1.0)
    for asked in (
        Asked("c", CLOSED, bench.now_s + 0.001, holds=True),
        Asked("o", REST, bench.now_s + 0.001, opens=True),
        Asked("r", RESET, bench.now_s + 0.001),
    ):
        bench.request.ask(asked, bench.now_s)
        asked.expires_s = bench.now_s
        bench.request.renew(bench.now_s)
        assert asked.refused == "the life of the command was over"
        assert not asked.frames
    opening = bench.open()
    bench.run(0.12)
    opening.expires_s = bench.now_s
    bench.run(0.5)
    assert len(opening.frames) == 3
    assert not opening.refused


def test_a_later_command_takes_the_place(bench: Bench) -> None:
    """A close that waits for its first frame gives way to an open."""
    bench.run(1.0)
    asked = bench.close()
    bench.open()
    assert set(bench.run(1.0)) == {"rest"}
    assert asked.refused == "command o1 takes its place"


def test_one_frame_on_its_way(bench: Bench) -> None:
    """Nothing follows before it is back; a lost rest waits, unless an open wants to go."""
    bench.run(1.0)
    bench.echo = False
    bench.run(0.2)
    assert bench.run(1.0) == []
    assert 0 < bench.request.wait_s(bench.now_s) <= PERIOD_S / 10
    bench.request.lost(bench.now_s, 5.0)
    assert bench.run(4.0) == []
    asked = bench.open(count=2)
    assert bench.run(0.5) == ["rest"] * 2
    assert asked.returned is None
    bench.request.lost(bench.now_s, 0.0)
    assert asked.returned is False
    bench.echo = True
    assert set(bench.run(1.0)) == {"rest"}


def test_lateness_costs_one_period_and_no_burst(bench: Bench) -> None:
    """A little is not added up; much moves what follows; missed ones are counted, not made good."""
    bench.run(1.0)
    start = len(bench.wire)
    bench.now_s += 0.55
    bench.run(1.0)
    gaps = [b - a for (a, _), (b, _) in zip(bench.wire, bench.wire[1:], strict=False)][start:]
    assert min(gaps) > 0.099
    assert bench.request.skipped == 5
    assert 0 < bench.request.wait_s(bench.now_s) <= PERIOD_S


def test_a_frame_that_leaves_late_moves_the_next(bench: Bench) -> None:
    """The bus took it 20 ms after it was due: the next one comes a period after that."""
    bench.run(1.0)
    while bench.wire[-1][0] != bench.now_s:
        bench.run(0.01)
    bench.now_s += 0.1
    bench.request.renew(bench.now_s)
    bench.step(takes_s=0.02)
    late_s = bench.now_s
    bench.run(0.2)
    assert bench.wire[-1][0] - late_s == pytest.approx(0.1, abs=0.011) or (
        bench.wire[-2][0] - late_s == pytest.approx(0.1, abs=0.011)
    )


def test_a_clock_that_steps_back_ends_a_hold(bench: Bench) -> None:
    """It never does; if it did, nothing is known about the lease."""
    bench.held()
    bench.loop = False
    bench.now_s -= 5.0
    bench.step()
    assert bench.request.last_end is not None
    assert bench.request.last_end.reason == LATE


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.asked: dict[str, Asked] = {}
        self.over: set[str] = set()

    @rule(seconds=st.sampled_from([0.01, 0.05, 0.1, 0.3, 1.0, 3.0]))
    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.watched(seconds)

    @rule(
        kind=st.sampled_from(["close", "open", "reset"]), life_s=st.sampled_from([0.0, 0.05, 9.0])
    )
    def ask(self, kind: str, life_s: float) -> None:
        """Ask for a command."""
        identity = f"{kind}-{len(self.asked)}"
        frame = {"close": CLOSED, "open": REST, "reset": RESET}[kind]
        asked = Asked(
            identity,
            frame,
            self.bench.now_s + life_s,
            count=2,
            holds=kind == "close",
            opens=kind == "open",
            proof_s=2.0,
        )
        self.asked[identity] = asked
        self.bench.request.ask(asked, self.bench.now_s)
        if kind == "open":
            self.over |= {each for each in self.asked if each.startswith("close")}

    @rule(data=st.data(), how=st.sampled_from(["prove", "end", "withdraw"]))
    def about(self, data: st.DataObject, how: str) -> None:
        """Do something to a command that was asked for."""
        if not self.asked:
            return
        identity = data.draw(st.sampled_from(sorted(self.asked)))
        request = self.bench.request
        if how == "prove":
            request.prove(identity)
        elif how == "end":
            request.end(identity, "ended", self.bench.now_s)
            self.over.add(identity)
        elif request.withdraw(self.asked[identity], "withdrawn"):
            self.over.add(identity)
            assert not self.asked[identity].frames

    @rule(name=st.sampled_from(["breaks", "silent", "cannot", "loop", "echo"]), wrong=st.booleans())
    def trouble(self, name: str, *, wrong: bool) -> None:
        """Begin or end something that is wrong."""
        if name in ("loop", "echo"):
            setattr(self.bench, name, not wrong)
        else:
            setattr(self.bench, name, name if wrong else "")

    @rule(seconds=st.sampled_from([0.05, 0.2, 0.5, 5.0]))
    def freeze(self, seconds: float) -> None:
        """The process stands still."""
        self.bench.now_s += seconds

    @rule()
    def lose(self) -> None:
        """A frame does not come back."""
        if self.bench.request.on_way is not None:
            self.bench.request.lost(self.bench.now_s, 1.0)

    def watched(self, seconds: float) -> None:
        """Let time pass and judge each frame by what the test knows, not by the request."""
        bench = self.bench
        for _ in range(max(1, round(seconds * 100))):
            last_s = bench.wire[-1][0] if bench.wire else None
            on_way = bench.request.on_way is not None and not bench.echo
            if bench.loop:
                self.renewed_s = bench.now_s + 0.01
            before = len(bench.wire)
            bench.run(0.01)
            self.note_refused()
            for at_s, kind in bench.wire[before:]:
                if kind == "closed":
                    self.judge_closed(at_s, last_s, on_way=on_way)
                assert not (bench.silent and bench.loop and kind != "rest")  # told by the loop

    renewed_s = float("-inf")

    def judge_closed(self, at_s: float, last_s: float | None, *, on_way: bool) -> None:
        """Closed needs exactly one live close, a fresh lease, and no reason against it."""
        bench, hold = self.bench, self.bench.request.hold
        assert hold is not None
        assert hold.asked.command_id.startswith("close")
        assert hold.asked.command_id not in self.over
        assert at_s - self.renewed_s < LEASE_S
        assert not (bench.breaks and bench.loop)
        assert not (bench.silent and bench.loop)
        assert not bench.cannot
        assert not on_way
        assert last_s is not None
        assert at_s - last_s <= MOST_PERIODS * PERIOD_S + 1e-9
        if len(hold.asked.frames) == 1 and at_s == hold.since_s:
            assert at_s < hold.asked.expires_s
        if not hold.proven:
            assert at_s - hold.since_s < 2.0 + PROOF_GRACE_S

    def note_refused(self) -> None:
        """What was refused or has ended is over for ever."""
        self.over |= {
            each.command_id for each in self.asked.values() if each.holds and each.refused
        }

    @invariant()
    def what_is_over_holds_nothing(self) -> None:
        """No hold belongs to a command that is over."""
        self.note_refused()
        hold = self.bench.request.hold
        assert hold is None or hold.asked.command_id not in self.over


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
