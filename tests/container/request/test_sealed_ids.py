"""Sealed ids: only their owner opens them, and nothing but the original opens at all."""

import string
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from container.request.stored_input import KEPT, Seal, SealedId, group_of, place_of
from worker.core.shared_settings import derived, seal_secret

SECRET = seal_secret(None, "sk-master") or ""
SEAL = Seal(SECRET)
PLACE = place_of("deployment")
OPENAIS = "resp_68af4030592c81938ec0a5fbab4a3e9f05438e46b5f69a3b"
WHAT = SealedId(PLACE, OPENAIS, 4321, group_of(OPENAIS))
ID = SEAL.seal(WHAT, "owner")
IDS = st.text(string.ascii_letters + string.digits + "._:/+=-", min_size=1, max_size=100)


@given(IDS, st.integers(0, 2**32 - 1), st.text(max_size=40), st.sampled_from((PLACE, KEPT)))
def test_any_id_survives_a_round_trip(id: str, bound: int, owner: str, place: bytes):
    what = SealedId(place, id, bound, group_of(id))
    assert SEAL.open(SEAL.seal(what, owner), owner) == what


@given(st.text("0123456789abcdef", max_size=140), st.sampled_from(("msg_", "rs_", "fc_", "a_b_", "_", "")))
def test_hexadecimal_ids_survive_a_round_trip(digits: str, prefix: str):
    what = SealedId(PLACE, prefix + digits)
    if what.id:
        assert SEAL.open(SEAL.seal(what, "owner"), "owner") == what


def test_the_id_reveals_nothing_and_keeps_its_prefix():
    assert ID.startswith("resp_")
    assert OPENAIS[5:] not in ID
    assert len(ID) < 100
    assert set(ID) <= set(string.ascii_letters + string.digits + "_-")


def test_a_response_has_one_id():
    assert SEAL.seal(WHAT, "owner") == ID
    assert Seal(SECRET).seal(WHAT, "owner") == ID  # in another process
    assert SEAL.seal(WHAT, "other") != ID


@pytest.mark.parametrize("owner", ["other", "", "owner ", "master"])
def test_another_owner_cannot_open_it(owner: str):
    assert SEAL.open(ID, owner) is None


def test_another_secret_cannot_open_it():
    assert Seal(seal_secret(None, "sk-rotated") or "").open(ID, "owner") is None


@given(st.integers(0, len(ID) - 1), st.characters(codec="ascii"))
def test_no_changed_character_is_accepted(at: int, other: str):
    changed = ID[:at] + other + ID[at + 1 :]
    assert (SEAL.open(changed, "owner") is None) == (changed != ID)


@given(st.integers(0, len(ID) - 1))
def test_no_truncated_id_is_accepted(end: int):
    assert SEAL.open(ID[:end], "owner") is None


@given(st.text(max_size=200) | st.text("abcdefABC012_-=", max_size=2000).map("resp_".__add__))
def test_nothing_else_opens(text: str):
    assert SEAL.open(text, "owner") is None


@pytest.mark.parametrize("end", ["=", "==", "\n", " ", "A", "AAAA"])
def test_nothing_can_be_appended(end: str):
    assert SEAL.open(ID + end, "owner") is None


def test_a_response_cannot_be_presented_as_an_item():
    assert SEAL.open("msg_" + ID.removeprefix("resp_"), "owner") is None


@pytest.mark.parametrize("strange", ["resp_ü", "resp_a b", 'resp_"', "r" * 513, ""])
def test_an_id_that_no_provider_makes_is_left_unsealed(strange: str):
    assert SEAL.seal(SealedId(PLACE, strange), "owner") == strange


def test_the_derivation_is_hkdf():
    for length in (16, 32, 64, 80):
        known = HKDF(SHA256(), length, b"litellm-router", b"purpose").derive(b"secret")
        assert derived(b"secret", b"purpose", length) == known


def test_the_salt_key_comes_before_the_master_key():
    assert seal_secret("salt", "sk-master") == seal_secret("salt", "sk-rotated") != seal_secret(None, "sk-master")
    assert seal_secret(None, None) is None


def test_the_library_is_imported_on_first_use():
    code = "import sys, container.request.stored_input; print([n for n in sys.modules if 'cryptography' in n])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
