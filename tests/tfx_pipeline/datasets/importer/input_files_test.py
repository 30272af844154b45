"""Files as they come: compression, encodings, quotes, ragged rows, headers, and what is refused."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.datasets.importer.delimited_file import DelimitedFile
from tfx_pipeline.datasets.importer.delimited_file import Dialect
from tfx_pipeline.datasets.importer.input_files import Reading
from tfx_pipeline.datasets.importer.input_files import find_files
from tfx_pipeline.datasets.importer.input_files import open_input
from tfx_pipeline.datasets.importer.text_file import TextFile


def read(
    path: Path,
    data: bytes | str,
    wanted: tuple[str, ...] = ("user", "item"),
    encoding: str | None = None,
    block_bytes: int = 1 << 20,
    **dialect: Any,
) -> tuple[str, list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Returns a file's format, its rows with their numbers, and its broken rows."""
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    file = open_input(path, wanted, Reading(Dialect(**dialect), encoding, block_bytes))
    file.require(wanted)
    rows: list[tuple[Any, ...]] = []
    broken: list[tuple[Any, ...]] = []
    for block in file.blocks(wanted):
        columns = [column.to_pylist() for column in block.rows]
        rows += zip(block.numbers.tolist(), *columns, strict=True)
        broken += map(tuple, block.broken)
    return file.format, rows, broken


CSV = "user,item\n1,007\n2,8\n"
ROWS = [(2, "1", "007"), (3, "2", "8")]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (CSV, "comma-separated, utf-8"),
        (CSV.replace(",", ";"), "semicolon-separated, utf-8"),
        (CSV.replace(",", "\t").replace("\n", "\r\n"), "tab-separated, utf-8"),
        (CSV.replace(",", "|"), "bar-separated, utf-8"),
        (CSV.replace(",", "::"), "`::`-separated, utf-8"),
        (CSV.replace(",", ", "), "comma-separated, utf-8"),
        (CSV.replace("1,007", '"1","007"').rstrip("\n"), "comma-separated, utf-8"),
        (gzip.compress(CSV.encode(), mtime=0), "comma-separated, utf-8"),
        (
            gzip.compress(CSV[:12].encode(), mtime=0) + gzip.compress(CSV[12:].encode(), mtime=0),
            "comma-separated, utf-8",
        ),
        (bz2.compress(CSV.encode()), "comma-separated, utf-8"),
        (CSV.encode("utf-8-sig"), "comma-separated, utf-8-sig"),
        (CSV.encode("utf-16"), "comma-separated, utf-16"),
        (CSV + "\n\n", "comma-separated, utf-8"),
        ("\n" + CSV.replace("user", "\nuser"), "comma-separated, utf-8"),
    ],
)
@pytest.mark.parametrize("block_bytes", [5, 1 << 20])
def test_delimiter_encoding_and_compression_are_found(
    tmp_path: Path, data: bytes | str, said: str, block_bytes: int
) -> None:
    found, rows, broken = read(tmp_path / "a.csv", data, block_bytes=block_bytes)
    first = 2 if rows[0][0] == 2 else 4  # two blank lines come first
    assert (found, broken) == (said, [])
    assert [(number - first + 2, u, i) for number, u, i in rows] == ROWS


def test_names_of_missing_values_are_missing_and_columns_come_by_name(tmp_path: Path) -> None:
    text = 'item,x,user\nNULL,1,\\N\n,2,nan\nNone,3,""\nnullable,4,0\n'
    _, rows, _ = read(tmp_path / "a.csv", text)
    assert rows == [(2, None, None), (3, None, None), (4, None, None), (5, "0", "nullable")]


@pytest.mark.parametrize("block_bytes", [7, 64, 1 << 20])
def test_stray_quotes_lose_their_own_row_alone(tmp_path: Path, block_bytes: int) -> None:
    text = (
        "user,item\n"
        '1,"12 inch\n'  # never closed
        "2,x\n"
        '3,"13 inch\n'
        '4,"14 inch\n'
        '5,6" pipe\n'  # within a value: a character like others
        '6,"a ""b"" c"\n'
        '7,"one\ntwo\n\nfour"\n'  # a value of four lines
        '"8\n8",y\n'
        '9,"last'
    )
    _, rows, broken = read(tmp_path / "a.csv", text, block_bytes=block_bytes)
    assert rows == [
        (3, "2", "x"),
        (6, "5", '6" pipe'),
        (7, "6", 'a "b" c'),
        (8, "7", "one\ntwo\n\nfour"),
        (12, "8\n8", "y"),
    ]
    reason = "a quote is not closed"
    assert broken == [
        (2, reason, '1,"12 inch'),
        (4, reason, '3,"13 inch'),
        (5, reason, '4,"14 inch'),
        (14, reason, '9,"last'),
    ]
    _, rows, broken = read(tmp_path / "a.csv", 'user,item\n1,"x\n\n2,"y"\n', quotes=False)
    assert (rows, broken) == ([(2, "1", '"x'), (4, "2", '"y"')], [])


def test_values_of_any_length_and_delimiters_of_any_character(tmp_path: Path) -> None:
    text = f'user,item\n1,"{"x" * 200_000}\n2,b\n3,{"y" * 200_000}\n'
    _, rows, broken = read(tmp_path / "a.csv", text)
    assert [row[0] for row in rows] == [3, 4] and [row[0] for row in broken] == [2]
    _, rows, _ = read(tmp_path / "a.csv", CSV.replace(",", "é"), delimiter="é")
    assert rows == [(2, "1", "007"), (3, "2", "8")]


def test_ragged_rows_are_broken_with_their_numbers(tmp_path: Path) -> None:
    _, rows, broken = read(tmp_path / "a.csv", 'user,item\n1\n2,3\n\n4,5,6\n"7\n7",8,9\n')
    assert rows == [(3, "2", "3")]
    assert [(number, reason) for number, reason, _ in broken] == [
        (2, "1 fields instead of 2"),
        (5, "3 fields instead of 2"),
        (6, "3 fields instead of 2"),
    ]


@pytest.mark.parametrize("block_bytes", [7, 1 << 20])
def test_empty_fields_behind_the_columns_of_the_header_are_none(
    tmp_path: Path, block_bytes: int
) -> None:
    text = "user,item\n1,007,,\n2,8,,\n3,9\n4,5,,\n"
    _, rows, broken = read(tmp_path / "a.csv", text, block_bytes=block_bytes)
    assert rows == [*ROWS, (5, "4", "5")]
    assert broken == [(4, "2 fields instead of 4", "3,9")]
    text = "user,item\n1,007,\n2,8,x\n"  # a value: the header lacks a name
    assert [row[0] for row in read(tmp_path / "a.csv", text, block_bytes=block_bytes)[2]] == [2, 3]


@pytest.mark.parametrize("block_bytes", [5, 1 << 20])
@pytest.mark.parametrize("mark", ["sep=;", '"sep=;"', "SEP=;\r"])
def test_the_line_in_which_excel_names_the_delimiter_is_skipped(
    tmp_path: Path, mark: str, block_bytes: int
) -> None:
    text = f"{mark}\n{CSV.replace(',', ';')}"
    said, rows, _ = read(tmp_path / "a.csv", text, block_bytes=block_bytes)
    assert (said, rows) == ("semicolon-separated, utf-8", [(3, "1", "007"), (4, "2", "8")])
    text = f"{mark}\n1;007\n"
    _, rows, _ = read(tmp_path / "a.csv", text, block_bytes=block_bytes, columns=("user", "item"))
    assert rows == [(2, "1", "007")]


@pytest.mark.parametrize("block_bytes", [7, 1 << 20])
def test_a_header_between_the_rows_is_no_row(tmp_path: Path, block_bytes: int) -> None:
    text = CSV + "user, item\n3,item\n" + CSV
    _, rows, broken = read(tmp_path / "a.csv", text, block_bytes=block_bytes)
    assert rows == [*ROWS, (5, "3", "item"), (7, "1", "007"), (8, "2", "8")]
    reason = "the header again"
    assert broken == [(4, reason, "user,item"), (6, reason, "user,item")]


def test_a_header_in_brackets_is_no_array(tmp_path: Path) -> None:
    _, rows, _ = read(tmp_path / "a.csv", "[user],[item]\n1,007\n", wanted=("[user]", "[item]"))
    assert rows == [(2, "1", "007")]


def test_files_without_a_header_get_names(tmp_path: Path) -> None:
    path = tmp_path / "ratings.dat"
    names = ("user", "item", "rating")
    said, rows, _ = read(path, "1::007::5\n2::8::4\n", columns=names)
    assert said == "`::`-separated, utf-8"
    assert rows == [(1, "1", "007"), (2, "2", "8")]
    # Bars divide the first line in three as well.
    said, rows, _ = read(path, "1::A (1995)::x|y|z\n2::B::x\n", columns=names)
    assert (said, rows[1]) == ("`::`-separated, utf-8", (2, "2", "B"))
    _, rows, _ = read(path, "user,item,rating\n1,007,5\n", columns=names)  # it has one after all
    assert rows == [(2, "1", "007")]
    with pytest.raises(ValueError, match="`--columns` names 3 columns, and the first line"):
        read(path, "1,2\n", columns=names)
    with pytest.raises(ValueError, match="looks like a row and no header: `1,2`. Name its columns"):
        read(path, "1,2\n")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b" \n\n", "is empty"),
        (
            "a.csv.gz",
            gzip.compress(CSV.encode() * 99, mtime=0)[:-9],
            "cannot be decompressed: it is damaged",
        ),
        ("a.csv.gz", b"\x1f\x8bnot gzip at all", "cannot be decompressed: it is damaged"),
        ("a.csv", "user,item\n1,Caf\xe9\n".encode("latin-1"), r"not UTF-8: line 2 has .*cp1252"),
        ("a.csv", CSV.encode("utf-16-le"), "say `--encoding utf-16-le`"),
        ("a.csv", b"user,item\r1,2\r", "carriage returns alone"),
        (
            "a.csv",
            b"usr,item\n1,2\n",
            "has no column `user`; the nearest is `usr`. It has `usr`, `it",
        ),
        ("a.csv", b"stars,item\n1,2\n", "has no column `user`. It has `stars`, `item`."),
        ("a.csv", b"user,user,item\n1,2,3\n", "has 2 columns that are called `user`"),
        ("a.jsonl", b'{"User": 1, "item": 2}\n', "has no column `user`; the nearest is `User`"),
        ("a.jsonl", b"{nope}\n", "is not JSON lines: expected an object on each line"),
        ("a.json", b'[{"user": 1}]', "is one JSON array; expected JSON lines"),
        ("a.csv", b' [\n {"user": 1}]', "is one JSON array; expected JSON lines"),
        ("a.xlsx", b"PK\x03\x04...", "a zip archive or an Excel workbook"),
        ("a.csv.zst", b"\x28\xb5\x2f\xfd...", "compressed with zstd; decompress it"),
        ("a.parquet", b"PAR1 and no more", "is Parquet that is damaged, incomplete or refused"),
    ],
)
def test_files_that_cannot_be_read_say_why(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path / name, data)


def test_an_encoding_is_said_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    data = "user,item\n1,Café\n".encode("cp1252")
    assert read(path, data, encoding="cp1252")[1] == [(2, "1", "Café")]
    with pytest.raises(ValueError, match="`--encoding latin-x` is not an encoding"):
        read(path, data, encoding="latin-x")
    with pytest.raises(ValueError, match="is not text in ascii"):
        read(path, data, encoding="ascii")


def test_json_lines_keep_ids_and_numbers_as_they_stand(tmp_path: Path) -> None:
    text = '{"user": "a", "item": 12345678901, "x": {"y": [1]}}\n{"item": 2, "user": null}\n'
    said, rows, broken = read(tmp_path / "a.jsonl", text)
    assert (said, broken) == ("JSON lines, utf-8", [])
    assert rows == [(1, "a", 12345678901), (2, None, 2)]
    text += 'nope\n\n{"user": "007", "item": "7"}\n{"user": 1, "item": 2.50}\n"text"\n'
    text += '{"user": "\\ud83d", "item": 1}\n{"user": 99999999999999999999, "item": true}\n'
    _, rows, broken = read(tmp_path / "a.jsonl", text)
    assert rows[2:] == [(5, "007", "7"), (6, "1", "2.50"), (9, "99999999999999999999", "true")]
    assert rows[:2] == [(1, "a", "12345678901"), (2, None, "2")]
    assert [(number, reason) for number, reason, _ in broken] == [
        (3, "not a JSON object"),
        (7, "not a JSON object"),
        (8, "not a JSON object"),
    ]


def test_parquet_is_read_also_compressed_as_a_whole(tmp_path: Path) -> None:
    pq.write_table(pa.table({"item": ["007", "8"], "x": [1, 2], "user": [1, 2]}), tmp_path / "a")
    data = (tmp_path / "a").read_bytes()
    assert read(tmp_path / "a.parquet", data) == ("Parquet", [(1, 1, "007"), (2, 2, "8")], [])
    assert read(tmp_path / "a.gz", gzip.compress(data))[1] == [(1, 1, "007"), (2, 2, "8")]


def test_names_folders_and_patterns_are_found_once(tmp_path: Path) -> None:
    for name in ("b/1.csv", "b/2.csv", "b/_SUCCESS", "b/.2.csv.crc", "c[1].csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(CSV)
    found = find_files(
        [f"{tmp_path}/b/2.csv", f"{tmp_path}/b", f"{tmp_path}/b/*", f"{tmp_path}/c[1].csv"]
    )
    assert [path.name for path in found][:2] == ["2.csv", "1.csv"]
    assert found[-1].name == "c[1].csv"
    with pytest.raises(FileNotFoundError, match="There is no file `.*nope"):
        find_files([f"{tmp_path}/nope*.csv"])


def test_hidden_files_and_folders_below_a_folder_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "_exports" / "events"  # what is given may have any name
    hidden = ["_delta_log/0.json", ".ipynb_checkpoints/e.csv", "day=1/_tmp/c.csv"]
    for name in ["day=1/a.csv", "b.csv", *hidden]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(CSV)
    assert find_files([str(folder)]) == [folder / "b.csv", folder / "day=1/a.csv"]
    named = folder / hidden[0]
    assert find_files([str(named)]) == [named]
    with pytest.raises(FileNotFoundError, match="There is no file in"):
        find_files([str(tmp_path)])  # all of it is in `_exports`


def test_a_file_of_one_line_may_end_it_with_both_characters(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert read(path, b"user,item\r\n") == ("comma-separated, utf-8", [], [])
    assert read(path, b"1,007\r\n", columns=("user", "item"))[1] == [(1, "1", "007")]
    assert read(path, b'{"user": 1, "item": 2}\r\n')[1] == [(1, 1, 2)]
    with pytest.raises(ValueError, match="carriage returns alone"):
        read(path, b"user,item\r1,2\r\n")


def test_blocks_are_read_one_at_a_time(tmp_path: Path) -> None:
    """Ten megabytes: no block is larger than asked for, and none is read before it is needed."""
    path = tmp_path / "large.csv"
    rows = 400_000
    path.write_text("user,item\n" + "".join(f"user{i % 997},item{i:09d}\n" for i in range(rows)))
    size = path.stat().st_size
    assert size > 8_000_000
    text = TextFile(path, size=1 << 16)
    taken: list[int] = []
    lines = text.line_blocks

    def counted() -> Any:
        for block in lines():
            taken.append(len(block.text))
            yield block

    text.line_blocks = counted  # type: ignore[method-assign]
    file = DelimitedFile(text, ("user", "item"), Dialect())
    seen = last = 0
    for number, block in enumerate(file.blocks(("user", "item")), 1):
        assert len(taken) <= number + 1  # the next one only to know whether there is one
        seen += block.rows.num_rows
        last = int(block.numbers[-1])
    assert (seen, last) == (rows, rows + 1)
    assert sum(taken) == size and max(taken) < (1 << 16) + 100
