"""The page is made section by section; one that overruns or fails is named and the others stand."""

import time

import pytest

from likeness.cli import demo as cli
from likeness.media.report import Section


def quick(folder, minutes, seed):
    return Section("quick", f"seed {seed}", rows=[("minutes", minutes)])


def slow(folder, minutes, seed):
    time.sleep(600)


def broken(folder, minutes, seed):
    raise ValueError("broken on purpose")


@pytest.mark.parametrize(
    ("name", "limit", "words"),
    [("quick", 120.0, "seed 3"), ("slow", 6.0, "Cut off after 6 seconds"), ("broken", 120.0, "Failed")],
)
def test_sections_are_kept_to_their_time(tmp_path, name, limit, words):
    section = cli._within(f"tests.cli.test_demo:{name}", tmp_path, 0.1, 3, limit, name)
    assert words in section.text and section.title == name


def test_what_is_left_out_is_said(tmp_path):
    assert "Left out" in cli._within("tests.cli.test_demo:quick", tmp_path, 0.1, 0, 0.0, "quick").text
