"""Keys: random, shown once, compared by hash."""

import pytest

from ems.security import digest, is_device_uid, key_id_of, matches, new_key


def test_a_new_key_has_the_agreed_form() -> None:
    """The text carries the id and 256 random bits; only its SHA-256 is for the store."""
    key = new_key()
    assert key_id_of(key.text) == key.key_id
    assert len(key.text) == len("emsk_") + 8 + 1 + 43
    assert key.sha256 == digest(key.text)
    assert new_key().text != key.text


def test_a_key_is_not_in_its_repr() -> None:
    """Printing the value does not print the secret."""
    key = new_key()
    assert key.text not in repr(key)


def test_only_the_whole_key_matches() -> None:
    """One changed character, or no stored hash at all, does not match."""
    key = new_key()
    assert matches(key.text, key.sha256)
    assert not matches(key.text[:-1] + ("A" if key.text[-1] != "A" else "B"), key.sha256)
    assert not matches(key.text, None)


@pytest.mark.parametrize("text", ["", "emsk_", "emsk_0123456G_" + "a" * 43, "x" * 57, "emsk_钥匙"])
def test_what_is_not_a_key_has_no_id(text: str) -> None:
    """Only the exact form is looked up."""
    assert key_id_of(text) is None
    assert not matches(text, None)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("A", True),
        ("a-b_9", True),
        ("x" * 64, True),
        ("", False),
        ("x" * 65, False),
        ("A\n", False),
        ("é", False),
    ],
)
def test_device_uid_form(text: str, good: bool) -> None:  # noqa: FBT001  # a table
    """A device id is 1 to 64 plain characters, the whole text."""
    assert is_device_uid(text) is good
