"""Sets of images: folders and archives, what is left out, what is refused, what is never read twice."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.images import files
from bench.images.files import open_set

MEMBERS = {
    "b.png": b"b",
    "deep/er/a.JPG": b"a",
    "c.webp": b"c",
    "notes.txt": b"t",
    "png": b"p",
    ".hidden.png": b"h",
    "._b.png": b"h",
    "__MACOSX/b.png": b"h",
    ".git/x.png": b"h",
}
NAMES = ["b.png", "c.webp", "deep/er/a.JPG"]
LEFT_OUT = {"hidden": 4, "no image extension": 2}


def folder(path: Path, members: dict[str, bytes] = MEMBERS) -> Path:
    for name, data in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def zipped(path: Path, members: dict[str, bytes] = MEMBERS) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("deep")
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, members: dict[str, bytes] = MEMBERS, prefix: str = "./") -> Path:
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


MAKERS = {"set": folder, "set.zip": zipped, "set.tar": tarred, "set.tar.gz": tarred, "set.TGZ": tarred}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_container_gives_the_same_set(kind: str, tmp_path: Path) -> None:
    found = open_set(MAKERS[kind](tmp_path / kind))
    assert [image.name for image in found.images] == NAMES
    assert [image.read() for image in found.images] == [b"b", b"c", b"a"]
    assert [image.read() for image in reversed(found.images)] == [b"a", b"c", b"b"]
    assert found.left_out == LEFT_OUT
    assert len(found) == 3


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png", "C:\\x.png", "..\\x.png"])
@pytest.mark.parametrize("kind", ["set.zip", "set.tar", "set.tar.gz"])
def test_names_that_lead_out_are_refused(kind: str, name: str, tmp_path: Path) -> None:
    members = {"a.png": b"a", name: b"x"}
    path = tmp_path / kind
    path = zipped(path, members) if kind == "set.zip" else tarred(path, members, prefix="")
    with pytest.raises(UserError, match="leads out of the archive") as error:
        open_set(path)
    assert kind in str(error.value)


@pytest.mark.parametrize("kind", MAKERS)
def test_no_image_is_one_sentence_that_says_what_was_there(kind: str, tmp_path: Path) -> None:
    path = MAKERS[kind](tmp_path / kind, {"a.txt": b"a", "b.csv": b"b"})
    with pytest.raises(UserError, match=r"holds no image \(passed over: 2 no image extension\)"):
        open_set(path)


def test_a_path_that_is_not_there_or_no_container(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no"):
        open_set(tmp_path / "nowhere")
    (tmp_path / "one.png").write_bytes(b"x")
    with pytest.raises(UserError, match="neither a folder nor an archive"):
        open_set(tmp_path / "one.png")


@pytest.mark.parametrize("kind", ["set.zip", "set.tar", "set.tar.gz"])
def test_archives_that_are_none_or_cut_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    path.write_bytes(b"this is no archive" * 100)
    with pytest.raises(UserError, match="fetch or pack the archive again"):
        open_set(path)
    big = {"a.png": os.urandom(50_000), "b.png": os.urandom(50_000)}
    whole = MAKERS[kind](path, big).read_bytes()
    path.write_bytes(whole[:60_000])
    with pytest.raises(UserError, match="fetch or pack the archive again"):
        open_set(path)


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", {"a.png": os.urandom(5000), "b.png": b"b"})
    data = bytearray(path.read_bytes())
    data[1000] ^= 255
    path.write_bytes(data)
    damaged, sound = open_set(path).images
    assert sound.read() == b"b"
    with pytest.raises(UserError, match=r"`a\.png` in .*set\.zip"):
        damaged.read()


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.tar"
    with tarfile.open(path, "w") as archive:
        for data in (b"one", b"two"):
            info = tarfile.TarInfo("a.png")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with pytest.raises(UserError, match=r"`a\.png` twice"):
        open_set(path)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", {"a.png": b"a"})
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[central + 8] |= 1  # the flag in the directory of the archive
    path.write_bytes(data)
    with pytest.raises(UserError, match="encrypted"):
        open_set(path)


def test_links_in_archives_are_no_files(tmp_path: Path) -> None:
    path = tmp_path / "set.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("link.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
        archive.addfile(tarfile.TarInfo("a.png"))
    found = open_set(path)
    assert [image.name for image in found.images] == ["a.png"]
    assert found.left_out == {"not a file": 1}
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
        archive.writestr("a.png", "a")
    found = open_set(path)
    assert [image.name for image in found.images] == ["a.png"]
    assert found.left_out == {"not a file": 1}


def test_links_in_folders_are_followed_once(tmp_path: Path) -> None:
    other = folder(tmp_path / "other", {"x.png": b"x"})
    root = folder(tmp_path / "set", {"a.png": b"a"})
    (root / "linked").symlink_to(other)
    (root / "round").symlink_to(root)
    (root / "gone.png").symlink_to(tmp_path / "nothing")
    os.mkfifo(root / "pipe.png")
    found = open_set(root)
    assert [image.name for image in found.images] == ["a.png", "linked/x.png"]
    assert found.left_out == {"not a file": 2}


def test_a_file_that_goes_away_is_named(tmp_path: Path) -> None:
    found = open_set(folder(tmp_path / "set"))
    (tmp_path / "set" / "b.png").unlink()
    for use in (found.images[0].read, found.images[0].stamp, lambda: found.content(0)):
        with pytest.raises(UserError, match=r"set/b\.png` cannot be read"):
            use()


@pytest.mark.parametrize("kind", MAKERS)
def test_content_reads_once_and_again_after_a_change(kind: str, tmp_path: Path) -> None:
    found = open_set(MAKERS[kind](tmp_path / kind))
    digest, data = found.content(0)
    assert data == b"b"
    assert digest.hex() == "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"  # sha256 of b
    assert found.content(0) == (digest, None)
    if kind == "set":
        (tmp_path / kind / "b.png").write_bytes(b"other")
        changed, data = found.content(0)
        assert changed != digest
        assert data == b"other"


def test_a_member_that_would_unpack_beyond_all_bounds_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_MOST", 1 << 20)
    found = open_set(zipped(tmp_path / "set.zip", {"a.png": bytes(2 << 20), "b.png": bytes(1 << 20)}))
    assert len(found.images[1].read()) == 1 << 20
    with pytest.raises(UserError, match=r"`a\.png` is larger"):
        found.images[0].read()


def test_a_full_disk_for_a_compressed_tar_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import shutil

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tarred(tmp_path / "set.tar.gz")
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(UserError, match="no room to unpack"):
        open_set(path)
