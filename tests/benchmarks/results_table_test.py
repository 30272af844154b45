"""Tables of READMEs come from result files."""

from __future__ import annotations

import json

import pytest

from benchmarks.results import Results
from benchmarks.results_table import main
from benchmarks.results_table import update

MARKED = """# Title
<!-- results: speed columns=model,hr@10,runs digits=3 -->
anything that was here
<!-- /results -->
after
"""


@pytest.fixture
def directory(tmp_path):
    results = Results("speed", command="python -m benchmarks.speed", directory=tmp_path)
    results.measure({"model": "ease"}, 0, lambda: {"hr@10": 0.1083, "events/s": 134_000.4})
    for seed, value in enumerate((0.27, 0.28)):
        results.measure({"model": "two_tower"}, seed, lambda value=value: {"hr@10": value})
    return tmp_path


def test_a_table_is_rendered_between_its_marks(directory):
    lines = update(MARKED, directory).splitlines()
    assert lines[0] == "# Title" and lines[-1] == "after"
    assert lines[2:6] == [
        "| model | hr@10 | runs |",
        "|---|---:|---:|",
        "| ease | 0.108 | 1 |",
        "| two_tower | 0.275 ± 0.007 | 2 |",
    ]
    assert lines[7].startswith("`python -m benchmarks.speed` · commit ")


def test_rendering_twice_changes_nothing(directory):
    once = update(MARKED, directory)
    assert update(once, directory) == once


def test_a_gathered_file_names_the_commands_that_measured(directory):
    file = directory / "speed.json"
    content = json.loads(file.read_text())
    for row in content["rows"]:
        row["command"] = "python -m benchmarks.one"
    file.write_text(json.dumps(content))
    line = update(MARKED, directory).splitlines()[7]
    command = "`python -m benchmarks.speed`, which gathers what `python -m benchmarks.one` measured"
    assert line.startswith(f"{command} · commit ")


def test_every_machine_that_measured_is_named_once(directory):
    file = directory / "speed.json"
    content = json.loads(file.read_text())
    for run, name in zip(content["runs"], ("a", "b", "a"), strict=True):
        run["machine"] = name
    file.write_text(json.dumps(content))
    assert " · a; b · 0 minutes in all" in update(MARKED, directory)
    only = update(MARKED.replace("digits=3", "only=model:two_tower"), directory)
    assert " · b; a · " in only
    for run in content["runs"]:
        del run["machine"]
    content["hardware"] |= {"processor": "i486", "cores": 2, "memory_gib": 4.2}
    file.write_text(json.dumps(content))
    assert " · 2 cores of i486, 4 GiB, GPU none · " in update(MARKED, directory)


def test_large_numbers_and_missing_values(directory):
    table = update("<!-- results: speed columns=model,events/s -->\n<!-- /results -->", directory)
    assert "| ease | 134,000 |" in table and "| two_tower |  |" in table


def test_only_leaves_out_rows_without_a_value(directory):
    marked = "<!-- results: speed columns=model only=events/s -->\n<!-- /results -->"
    table = update(marked, directory)
    assert "| ease |" in table and "two_tower" not in table
    with pytest.raises(ValueError, match=r"no column \['absent'\]"):
        update(marked.replace("only=events/s", "only=absent"), directory)


def test_mistakes_are_named(directory):
    with pytest.raises(ValueError, match=r"no column \['hr@11'\]"):
        update(MARKED.replace("hr@10", "hr@11"), directory)
    with pytest.raises(ValueError, match="digit"):
        update(MARKED.replace("digits=3", "digit=3"), directory)
    with pytest.raises(FileNotFoundError, match="slow.json"):
        update(MARKED.replace(": speed", ": slow"), directory)


def test_files_without_tables_are_left_alone(tmp_path):
    file = tmp_path / "README.md"
    file.write_text("# Nothing to render\n")
    with pytest.raises(SystemExit) as exit_:
        main(["--check", str(file)])
    assert exit_.value.code == 0 and file.read_text() == "# Nothing to render\n"


def test_only_some_rows(directory):
    def models(only: str) -> list[str]:
        mark = f"<!-- results: speed columns=model only={only} -->\n<!-- /results -->"
        return [line.strip("| ") for line in update(mark, directory).splitlines()[3:-3]]

    assert models("events/s") == ["ease"]  # the other one has none
    assert models("model:two_tower,absent") == ["two_tower"]
    assert models("model:two_tower,ease") == ["ease", "two_tower"]
    with pytest.raises(ValueError, match="no column"):
        models("nothing:ease")
