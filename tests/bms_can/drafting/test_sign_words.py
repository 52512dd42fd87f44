"""What a comment says about the sign of a current."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.drafting.sign_words import positive_means


@pytest.mark.parametrize(
    ("comment", "means"),
    [
        ("positive while the battery is discharged", "discharging"),
        ("Pack current. Positive while the\nbattery pack is being charged.", "charging"),
        ("positive = charging", "charging"),
        ("Charging is positive", "charging"),
        ("discharge positive", "discharging"),
        ("negative when charging", "discharging"),
        ("charging current is negative", "discharging"),
        ("Negative: the battery is dis-charged", "charging"),
        ("positive when charging, negative when discharging", "charging"),
        ("charge positive discharge negative", "charging"),
        ("Positive on discharge and negative on charge", "discharging"),
        ("Positive when charging, negative otherwise", "charging"),
        ("Charge/discharge current, positive while discharging", "discharging"),
        ("charging (+), discharging (-)", "charging"),
        ("+ = discharge; - = charge", "discharging"),
        ("+: charging, -: discharging", "charging"),
        ("current > 0 means discharging", "discharging"),
        ("in steps of 0.1 A, positive while charged", "charging"),
        ("放电为正，充电为负", "discharging"),
        ("充放电电流：正值表示充电", "charging"),
        ("充电正", "charging"),
        ("充电为负", "discharging"),
    ],
)
def test_a_comment_that_says_it(comment: str, means: str) -> None:
    """In both orders, with either sign, in one sentence among others."""
    assert positive_means(comment) == means


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "pack current",
        "charging and discharging current",
        "positive when charging or discharging",
        "positive when charging. Positive when discharging.",
        "positive while charging, negative while charging",
        "charging: positive or negative",
        "not positive while charging",
        "positive = charging, inverted in firmware 2",
        "current at the positive terminal while charging",
        "state of charge falls while positive",
        "positive. The charger limits it.",
        "positive during precharge",
        "overcharge positive",
        "充电正常",
        "充电时正极电流",
    ],
)
def test_a_comment_that_does_not_say_it(comment: str) -> None:
    """Says nothing, both, or something else with the same words: no guess."""
    assert positive_means(comment) == ""


WORDS = st.sampled_from(["positive", "negative", "charging", "discharging", ",", ".", "is", "not"])


@given(st.lists(WORDS, max_size=12))
def test_the_words_the_other_way_round_mean_the_other(words: list[str]) -> None:
    """Whoever swaps the directions swaps the answer; so does who swaps the signs."""
    said = positive_means(" ".join(words))
    swap = {"charging": "discharging", "discharging": "charging", "": ""}
    signs = {"positive": "negative", "negative": "positive"}
    assert positive_means(" ".join(swap.get(word, word) for word in words)) == swap[said]
    assert positive_means(" ".join(signs.get(word, word) for word in words)) == swap[said]
