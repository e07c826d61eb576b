"""docs/licences.md names every package of the image, and none whose licence would bind what it is used in."""

import re

from dev import licences

ROWS = dict(re.findall(r"^\| ([^ |]+) \| (.+) \|$", licences.PAGE.read_text(), re.MULTILINE))


def test_every_locked_package_is_in_it():
    assert set(licences.locked()) <= ROWS.keys()


def test_every_package_says_what_it_is_under():
    assert all(ROWS[name].strip() for name in licences.locked())


def test_none_is_under_the_agpl():
    assert not [name for name, licence in ROWS.items() if "AGPL" in licence or "Affero" in licence]
