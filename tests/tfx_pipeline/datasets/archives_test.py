"""Archives that would write where they should not, or are not what they say."""

from __future__ import annotations

import gzip
import io
import random
import stat
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.tfx_pipeline.datasets.hostile_tars import negative_size
from tests.tfx_pipeline.datasets.hostile_tars import pax_header
from tests.tfx_pipeline.datasets.hostile_tars import sparse_map
from tfx_pipeline.datasets.archives import extract


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as box:
        for name, data in members.items():
            box.writestr(name, data)
    return path


def make_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as box:
        for info, data in members:
            info.size = len(data)
            box.addfile(info, io.BytesIO(data))
    return path


def left_over(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.suffix == "")


def test_zip_and_tar_are_unpacked_whole_or_in_part(tmp_path: Path) -> None:
    box = make_zip(tmp_path / "a.zip", {"d/": b"", "d/x.txt": b"one", "y.txt": b"two"})
    out = extract(box, tmp_path / "all")
    assert (out / "d" / "x.txt").read_bytes() == b"one"
    part = extract(box, tmp_path / "part", only=["y.txt"])
    assert [p.name for p in part.iterdir()] == ["y.txt"]
    tar = make_tar(tmp_path / "a.tgz", (tarfile.TarInfo("./x.txt"), b"one"), mode="w:gz")
    assert (extract(tar, tmp_path / "tar") / "x.txt").read_bytes() == b"one"


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/evil", "C:/evil", "..\\evil", "a/..", "~/../evil"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_member_outside_the_target_refuses_the_archive(
    tmp_path: Path, name: str, kind: str
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    if kind == "zip":
        box = make_zip(work / "a.zip", {"good.txt": b"good", name: b"evil"})
    else:
        good = tarfile.TarInfo("good.txt")
        box = make_tar(work / "a.tar", (good, b"good"), (tarfile.TarInfo(name), b"evil"))
    with pytest.raises(ValueError, match="outside the target"):
        extract(box, work / "out", only=["good.txt"])
    assert left_over(tmp_path) == ["work"]


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        box = make_tar(tmp_path / "a.tar", (info, b""))
        with pytest.raises(ValueError, match="`link` is a link or a device"):
            extract(box, tmp_path / "out")
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="`link` is a link or a device"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert left_over(tmp_path) == []


def test_oversized_members_and_archives_are_refused(tmp_path: Path) -> None:
    box = make_zip(tmp_path / "a.zip", {"a": bytes(600), "b": bytes(600)})
    with pytest.raises(ValueError, match="too large at the member `a` of 600 bytes"):
        extract(box, tmp_path / "out", max_member_bytes=500)
    with pytest.raises(ValueError, match="1,200 bytes in 2 members"):
        extract(box, tmp_path / "out", max_total_bytes=1_000)
    assert left_over(tmp_path) == []


def test_a_member_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    box = make_zip(tmp_path / "a.zip", {"a": b"x" * 5_000})
    data = box.read_bytes()
    assert data.count((5_000).to_bytes(4, "little")) == 2
    box.write_bytes(data.replace((5_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(ValueError, match="damaged|larger than it declares"):
        extract(box, tmp_path / "out", max_member_bytes=100)
    assert left_over(tmp_path) == []


def test_what_is_no_whole_archive_leaves_nothing(tmp_path: Path) -> None:
    whole = make_zip(tmp_path / "a.zip", {"a": b"x" * 5_000, "b": b"y"}).read_bytes()
    (tmp_path / "a.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a whole zip or tar"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    flipped = bytearray(whole)
    flipped[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "a.zip").write_bytes(bytes(flipped))
    with pytest.raises(ValueError, match="damaged or incomplete"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    (tmp_path / "a.zip").write_bytes(b"<html>Please log in</html>")
    with pytest.raises(ValueError, match="starts with b'<html>Pl'"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        extract(tmp_path / "b.zip", tmp_path / "out")
    tar = make_tar(tmp_path / "a.tgz", (tarfile.TarInfo("a"), b"x" * 99_999), mode="w:gz")
    tar.write_bytes(tar.read_bytes()[:-60])
    with pytest.raises(ValueError, match="damaged or incomplete|not a whole"):
        extract(tar, tmp_path / "out")
    assert left_over(tmp_path) == []


def test_missing_repeated_and_encrypted_members(tmp_path: Path) -> None:
    box = make_zip(tmp_path / "a.zip", {"a": b"x"})
    with pytest.raises(ValueError, match=r"no member \['b'\]; it has \['a'\]"):
        extract(box, tmp_path / "out", only=["b"])
    twice = make_tar(tmp_path / "a.tar", (tarfile.TarInfo("a"), b"x"), (tarfile.TarInfo("a"), b"y"))
    with pytest.raises(ValueError, match="`a` is there twice"):
        extract(twice, tmp_path / "out")
    same = make_zip(tmp_path / "b.zip", {"a": b"x", "./a": b"y"})
    with pytest.raises(ValueError, match="`./a` is there twice"):
        extract(same, tmp_path / "out")
    both = make_zip(tmp_path / "c.zip", {"a/b": b"x", "a": b"y"})
    with pytest.raises(ValueError, match="`a` is a file and a directory"):
        extract(both, tmp_path / "out")
    data = bytearray(box.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    box.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="`a` is encrypted"):
        extract(box, tmp_path / "out")


def test_an_existing_target_is_not_touched(tmp_path: Path) -> None:
    box = make_zip(tmp_path / "a.zip", {"a": b"x"})
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="exists already"):
        extract(box, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("x" * 256, "too long or too deep .256 bytes, 1 parts"),
        ("é" * 128, "too long or too deep .256 bytes, 1 parts"),
        ("/".join("x" * 200 for _ in range(6)), "too long or too deep .1,200 bytes, 6 parts"),
        ("d/" * 64 + "x", "too long or too deep .65 bytes, 65 parts"),
        (".", "has no name"),
        ("./", "has no name"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_no_file_can_have_is_refused(
    tmp_path: Path, name: str, why: str, kind: str
) -> None:
    if kind == "zip":
        box = make_zip(tmp_path / "a.zip", {"good.txt": b"good"})
        with zipfile.ZipFile(box, "a") as zipped:
            zipped.writestr(zipfile.ZipInfo(name.rstrip("/")), b"data")
    else:
        box = make_tar(tmp_path / "a.tar", (tarfile.TarInfo(name), b"data"))
    with pytest.raises(ValueError, match=why):
        extract(box, tmp_path / "out")
    assert left_over(tmp_path) == []


def test_the_longest_and_deepest_names_are_unpacked(tmp_path: Path) -> None:
    names = ["x" * 255, "d/" * 63 + "x", "/".join("y" * 255 for _ in range(4))]
    box = make_tar(tmp_path / "a.tar", *((tarfile.TarInfo(name), b"data") for name in names))
    out = extract(box, tmp_path / "out")
    assert [(out / name).read_bytes() for name in names] == [b"data"] * 3


@pytest.mark.parametrize("make", [pax_header, sparse_map])
def test_a_small_file_with_a_huge_header_is_refused_unread(tmp_path: Path, make: Any) -> None:
    box = tmp_path / "a.tar.gz"
    box.write_bytes(gzip.compress(make(20 << 20), 1))
    assert box.stat().st_size < 200 << 10
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="headers are too large"):
            extract(box, tmp_path / "out")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20
    assert left_over(tmp_path) == []


def test_many_members_with_headers_of_their_own_are_unpacked(tmp_path: Path) -> None:
    members = [(tarfile.TarInfo(f"{'é' * 120}/{i}"), b"x") for i in range(1_500)]
    box = make_tar(tmp_path / "a.tar.bz2", *members, mode="w:bz2")  # 2.3 MB of headers
    out = extract(box, tmp_path / "out")
    assert len(list(out.rglob("*"))) == 1_501


def test_a_size_below_zero_does_not_lead_back(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(negative_size())
    # A newer tarfile refuses when it opens the archive.
    with pytest.raises(ValueError, match="damaged or incomplete|not a whole zip or tar"):
        extract(tmp_path / "a.tar", tmp_path / "out")


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_flipped_byte_of_a_compressed_tar_is_noticed(tmp_path: Path, mode: str) -> None:
    noise = random.Random(0)
    members = [(tarfile.TarInfo(f"f{i}"), noise.randbytes(2_000)) for i in range(5)]
    whole = make_tar(tmp_path / "a.tar", *members, mode=mode).read_bytes()
    for place in [*range(len(whole) // 8, len(whole), len(whole) // 8), len(whole) - 6]:
        flipped = bytearray(whole)
        flipped[place] ^= 0x10
        (tmp_path / "a.tar").write_bytes(bytes(flipped))
        with pytest.raises(ValueError, match="damaged or incomplete|not a whole"):
            extract(tmp_path / "a.tar", tmp_path / "out")
        (tmp_path / "a.tar").write_bytes(whole[:place])
        with pytest.raises(ValueError, match="damaged or incomplete|not a whole"):
            extract(tmp_path / "a.tar", tmp_path / "out")
    assert left_over(tmp_path) == []


def test_a_tar_that_ends_at_a_damaged_or_missing_header_is_refused(tmp_path: Path) -> None:
    members = [(tarfile.TarInfo(f"f{i}"), b"x" * 512) for i in range(3)]
    whole = make_tar(tmp_path / "a.tar", *members).read_bytes()
    flipped = bytearray(whole)
    flipped[1024 + 148] ^= 0x01  # the checksum of the second header
    for data in (bytes(flipped), whole[:2048], whole[:2048] + b"x" * 512, whole[:2300]):
        (tmp_path / "a.tar").write_bytes(data)
        with pytest.raises(ValueError, match="damaged or incomplete"):
            extract(tmp_path / "a.tar", tmp_path / "out")
    with gzip.open(tmp_path / "a.tar", "wb") as file:
        file.write(whole + bytes(20 << 20))
    with pytest.raises(ValueError, match="bytes and more follow its end"):
        extract(tmp_path / "a.tar", tmp_path / "out")


def test_a_zip_within_a_tar_is_not_what_is_unpacked(tmp_path: Path) -> None:
    inner = make_zip(tmp_path / "inner.zip", {"inner.txt": b"inner"})
    box = make_tar(tmp_path / "a.tar", (tarfile.TarInfo("inner.zip"), inner.read_bytes()))
    out = extract(box, tmp_path / "out")
    assert [path.name for path in out.iterdir()] == ["inner.zip"]
