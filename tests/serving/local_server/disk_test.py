from __future__ import annotations

import pytest

from serving.local_server.disk import check_below
from serving.local_server.disk import find_versions
from serving.local_server.disk import fingerprint


def test_only_directories_named_by_digits_are_versions(tmp_path):
    for name in ("1", "0020", "-3", "4.partial", "five", "٦", "007", "7"):
        (tmp_path / name).mkdir()
    (tmp_path / "8").write_text("a file")
    assert find_versions(tmp_path) == {
        1: tmp_path / "1",
        7: tmp_path / "7",
        20: tmp_path / "0020",
    }


def test_numbers_beyond_an_int64_are_no_versions(tmp_path):
    for name in (2**63 - 1, 2**63, 2**64 + 5, "9" * 200):
        (tmp_path / str(name)).mkdir()
    assert list(find_versions(tmp_path)) == [2**63 - 1]


def test_fingerprint_sees_every_write(tmp_path):
    (tmp_path / "variables").mkdir()
    seen = {fingerprint(tmp_path)}
    (tmp_path / "variables" / "v").write_text("a")
    seen.add(fingerprint(tmp_path))
    (tmp_path / "variables" / "v").write_text("ab")
    seen.add(fingerprint(tmp_path))
    assert len(seen) == 3
    assert fingerprint(tmp_path) == fingerprint(tmp_path)


def test_nothing_may_lead_out_of_the_root(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "base" / "1").mkdir(parents=True)
    (outside / "1").mkdir(parents=True)
    check_below(root / "base", root)
    with pytest.raises(ValueError, match="outside"):
        check_below(root / ".." / "outside", root)
    (root / "link").symlink_to(outside)
    with pytest.raises(ValueError, match="outside"):
        check_below(root / "link", root)
    (root / "base" / "2").symlink_to(outside / "1")
    with pytest.raises(ValueError, match="base/2, which lies outside"):
        check_below(root / "base", root)


def test_a_neighbour_with_the_same_beginning_is_outside(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root-too").mkdir()
    with pytest.raises(ValueError, match="outside"):
        check_below(tmp_path / "root-too", tmp_path / "root")
