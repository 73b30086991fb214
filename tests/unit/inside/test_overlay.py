from __future__ import annotations

import os
from pathlib import Path

from launcher.hub.inside.overlay import copy_absent


def test_only_what_is_absent_is_copied_and_no_link_is_followed(tmp_path: Path) -> None:
    source, target, outside = tmp_path / "source", tmp_path / "target", tmp_path / "outside"
    for directory in (source / "made/deep", source / "linked", source / "empty", target / "made", outside):
        directory.mkdir(parents=True)
    (source / "made/deep/data.bin").write_bytes(b"data")
    (source / "made/present").write_text("built")
    (source / "run").write_text("#!/bin/sh\n")
    (source / "run").chmod(0o555)
    (source / "link").symlink_to("made/present")
    (source / "linked/x").write_text("x")
    os.mkfifo(source / "pipe")
    (target / "made/present").write_text("mine")
    (target / "linked").symlink_to(outside)
    assert copy_absent(source, target) == 3
    assert (target / "made/present").read_text() == "mine"
    assert (target / "made/deep/data.bin").read_bytes() == b"data"
    assert (target / "link").readlink() == Path("made/present")
    assert (target / "run").stat().st_mode & 0o777 == 0o755
    assert list(outside.iterdir()) == []
    assert not (target / "pipe").exists()
    assert copy_absent(source, target) == 0
