"""`vitrine data import` says what it found, what to do next, and what is wrong."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from click.testing import Result

from tfx_pipeline.cli import cli
from tfx_pipeline.config_file import load_config
from tfx_pipeline.datasets.event_log import EventLog

ROWS = "who;what;when\n" + "".join(
    f"u{i % 7};{i % 5:03d};{1 + i % 28:02d}.01.2024 10:00\n" for i in range(140)
)


def run(folder: Path, options: str) -> Result:
    (folder / "orders.csv").write_text(ROWS)
    command = f"data import {folder}/orders.csv --out {folder}/my-shop {options}"
    return CliRunner().invoke(cli, shlex.split(command))


def next_run(output: str) -> list[str]:
    """Returns the arguments of the suggested `vitrine run`."""
    return shlex.split(output.partition("vitrine run ")[2])


def test_a_log_is_counted_and_the_next_commands_work(tmp_path: Path) -> None:
    found = run(tmp_path, "--user who --item what --time when --event-type buy")
    assert found.exit_code == 0, found.output
    assert (
        "orders.csv: semicolon-separated, utf-8; when: dates, day first, read as UTC"
        in found.output
    )
    assert (
        "my-shop: 140 events (`buy`) of 7 users and 5 items, 2024-01-01 to 2024-01-28 (27.0 days)."
        in found.output
    )
    assert "20.0 events a user; 75.0% of the events repeat an item of their user." in found.output
    assert "catalogue: 5 items, those of the events." in found.output
    assert f"vitrine data validate {tmp_path}/my-shop\n" in found.output
    name, *sets = next_run(found.output)
    config = load_config(name, tuple(sets[1::2]))
    assert config.timeline.split == "leave-last-out"  # a cut would test 4 of the 7 users
    assert "test users of the run below: 7 (leave-last-out" in found.output
    assert "With fewer than 100 users to test nothing is pushed" in found.output
    assert config.exclude_seen == ()  # people come back
    assert (config.name, config.log_dir) == ("my-shop", f"{tmp_path}/my-shop")
    checked = CliRunner().invoke(cli, ["data", "validate", f"{tmp_path}/my-shop"])
    assert checked.exit_code == 0 and "a sound event log" in checked.output


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("2024", "2024"),
        ("on", "on"),
        ("001", "001"),
        ("null", "null"),
        ("1e5", "1e5"),
        ("2024-01-02", "2024-01-02"),
        ("my shop", "my-shop"),
        ("café", "cafe"),
        ("shop:a", "shop-a"),
        ("shop: a #1", "shop-a-1"),
        ("[", "log"),
        ("a" * 120, "a" * 100),
    ],
)
def test_directories_of_any_name_can_be_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directory: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("u,i,t\n1,a,2024-01-02\n1,b,2024-01-05\n")
    command = ["data", "import", "a.csv", "--user", "u", "--item", "i", "--time", "t"]
    found = CliRunner().invoke(cli, [*command, "--out", directory])
    template, *sets = next_run(found.output)
    config = load_config(template, tuple(sets[1::2]))
    assert (config.name, config.log_dir, config.run_dir) == (name, directory, f"runs/{name}")


def test_logs_of_a_few_days_hold_out_last_events(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("u,i,t\n1,a,2024-01-02\n1,b,2024-01-05\n")
    command = ["data", "import", f"{tmp_path}/a.csv", "--user", "u", "--item", "i", "--time", "t"]
    found = CliRunner().invoke(cli, [*command, "--out", f"{tmp_path}/log"])
    name, *sets = next_run(found.output)
    assert load_config(name, tuple(sets[1::2])).timeline.split == "leave-last-out"


@pytest.mark.parametrize(
    ("days", "users", "each", "split", "test_days"),
    [
        (27, 120, 1, "time-cut", 4),  # a sixth, in which each user has an event a day
        (59, 1_000, 1, "time-cut", 7),
        (59, 1_000, 10, "time-cut", 14),  # events on every tenth day: a week tests 700
        (27, 90, 1, "time-cut", 4),  # too few users for any split: the first that tests most
        (3, 120, 1, "leave-last-out", 0),
    ],
)
def test_the_split_tests_enough_users(
    tmp_path: Path, days: int, users: int, each: int, split: str, test_days: int
) -> None:
    start = np.datetime64("2024-01-01")
    rows = [
        f"{user},{(user + day) % 50},{start + day}T12:{user % 60:02d}"
        for day in range(days + 1)
        for user in range(users)
        if (user + day) % each == 0
    ]
    (tmp_path / "a.csv").write_text("u,i,t\n" + "\n".join(rows) + "\n")
    command = ["data", "import", f"{tmp_path}/a.csv", "--user", "u", "--item", "i", "--time", "t"]
    found = CliRunner().invoke(cli, [*command, "--out", f"{tmp_path}/log"])
    name, *sets = next_run(found.output)
    chosen = load_config(name, tuple(sets[1::2])).timeline
    assert (chosen.split, chosen.test_days) == (split, test_days)


@pytest.mark.parametrize(("repeats", "excluded"), [(0, ("*",)), (1, ("*",)), (2, ())])
def test_where_nothing_repeats_what_was_seen_is_excluded(
    tmp_path: Path, repeats: int, excluded: tuple[str, ...]
) -> None:
    items = [*range(200 - repeats), *range(repeats)]  # 0, 0.5 and 1 % repeat
    (tmp_path / "a.csv").write_text("u,i\n" + "".join(f"1,{item}\n" for item in items))
    command = ["data", "import", f"{tmp_path}/a.csv", "--user", "u", "--item", "i"]
    found = CliRunner().invoke(cli, [*command, "--order", "file", "--out", f"{tmp_path}/log"])
    assert ("Hardly anybody comes back to an item" in found.output) == bool(excluded)
    name, *sets = next_run(found.output)
    assert load_config(name, tuple(sets[1::2])).exclude_seen == excluded


def test_users_come_from_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("u0|x\nu1|y\nU2|z\n")
    columns = "--users-columns name,town --users-id name --user-attribute town"
    events = "--user who --item what --time when"
    found = run(tmp_path, f"{events} --users {tmp_path}/people.csv {columns}")
    assert "people.csv: bar-separated, utf-8\n" in found.output
    assert "  users: 3 rows, 2 of them of users of the events.\n" in found.output
    assert EventLog(tmp_path / "my-shop").read("users").num_rows == 3


def test_an_order_suggests_a_split_without_times(tmp_path: Path) -> None:
    found = run(tmp_path, "--user who --item what --order file")
    assert "5 items, in the files' order." in found.output
    name, *sets = next_run(found.output)
    config = load_config(name, tuple(sets[1::2]))
    assert config.timeline.split == "leave-last-out"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--user who --item what", "with --time, or --order file"),
        ("--user who --item what --time when --order file", "with --time, or --order file"),
        ("--user who --item what --time when --event a --event-type b", "--event (a column)"),
        ("--user who --item what --time when --catalogue-id a", "--catalogue, which is missing"),
        ("--user who --item what --time when --user-attribute a", "--users, which is missing"),
        ("--user who --item what --order file --available-from when", "Without times"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, options: str, message: str) -> None:
    found = run(tmp_path, options)
    assert found.exit_code == 2 and message in found.output


def test_rows_that_are_left_out_are_shown(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("u,i,t\n" + "1,a,2024-01-02\n" * 200 + ",b,2024-01-02\n")
    command = ["data", "import", f"{tmp_path}/a.csv", "--user", "u", "--item", "i", "--time", "t"]
    found = CliRunner().invoke(cli, [*command, "--out", f"{tmp_path}/log"])
    assert "left out 1 of events: user_id is missing" in found.output
    assert "a.csv, row 202: user_id=None, entity_id='b', timestamp='2024-01-02'" in found.output
    assert f"Rows that are left out: {tmp_path}/log/dead_letter/" in found.output
    again = CliRunner().invoke(cli, [*command, "--out", f"{tmp_path}/log"])
    assert isinstance(again.exception, FileExistsError) and "--overwrite" in str(again.exception)
