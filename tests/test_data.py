"""`bench data`: preparing, verifying and locating real data; phantoms never pass for it."""

from __future__ import annotations

import functools
import http.server
import json
import threading
import zipfile

import pytest

from bench.verbs.data import unpack


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    """A home without prepared data or phantoms."""
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def phantom(bench, tmp_path, own_home):
    root = tmp_path / "phantom"
    assert bench("data", "phantom", "duke_oct", "--root", root, "--size", "tiny").code == 0
    return root


def test_a_phantom_says_so_everywhere(bench, phantom, tmp_path):
    answer = bench(
        "run",
        "task=oct",
        f"data_root={phantom}",
        "method=relaynet",
        "budget=smoke",
        "protocol.image_size=[32,48]",
        f"out={tmp_path / 'runs'}",
    )
    assert answer.code == 0, answer.err
    assert "PHANTOM" in answer.err
    assert "PHANTOM, not real data" in answer.out
    assert "another dataset than this PHANTOM; not comparable" in answer.out
    (record,) = (tmp_path / "runs").rglob("record.json")
    found = json.loads(record.read_text())
    assert found["data"]["variant"] == "phantom"
    assert found["data"]["counts"] == {"train": 33, "val": 2, "test": 4}
    assert "data: phantom" in (record.parent / "config.yaml").read_text()
    verdicts = {c["verdict"] for c in found["compared_to"]}
    assert verdicts == {"not comparable: phantom data"}
    board = bench("leaderboard", "oct", "--runs", tmp_path / "runs", "--format", "md")
    assert "PHANTOM" in board.out
    real = bench("leaderboard", "oct", "--runs", tmp_path / "runs", "--data", "real", "--format", "csv")
    assert "relaynet,ours" not in real.out


def test_a_phantom_is_never_taken_for_real_data(bench, phantom):
    answer = bench("data", "prepare", "duke_oct", "--root", phantom)
    assert answer.code == 2
    assert "holds a phantom" in answer.err
    (phantom / "PHANTOM.json").unlink()
    answer = bench("run", "task=oct", "method=unet", f"data_root={phantom}", "data=real")
    assert answer.code == 2
    assert "holds a phantom" in answer.err, "the header of the .mat files still says so"


def test_verify_names_what_it_found(bench, phantom):
    facts = json.loads(bench("data", "verify", "duke_oct", "--root", phantom, "--json").out)
    assert facts["variant"].startswith("PHANTOM")
    assert facts["samples train"] == "33"


def test_auto_takes_prepared_data_and_the_phantom_only_without(bench, own_home, folder_data):
    from bench.data import dataset_named, locate

    folder = dataset_named("folder")
    assert bench("data", "prepare", "folder", "--root", folder_data).code == 0
    place = locate("folder", folder, "auto", None)
    assert (place.root, place.variant) == (folder_data, "custom")
    assert str(folder_data) in bench("data", "list").out
    assert bench("data", "path", "folder").out.strip() == str(folder_data)


def test_an_archive_is_unpacked_and_registered(bench, own_home, folder_data, tmp_path):
    archive = tmp_path / "scans.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        for path in sorted(folder_data.rglob("*")):
            bundle.write(path, path.relative_to(folder_data))
    answer = bench("data", "prepare", "folder", "--root", archive)
    assert answer.code == 0, answer.err
    assert (own_home / "data" / "folder" / "splits.csv").is_file()


@pytest.mark.parametrize("member", ["../evil.txt", "/tmp/evil.txt", "a/../../evil.txt"])
def test_an_archive_that_would_write_elsewhere_is_refused(bench, own_home, tmp_path, member):
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr(member, "x")
    answer = bench("data", "prepare", "duke_oct", "--root", archive)
    assert answer.code == 2
    assert "outside" in answer.err
    assert not (tmp_path / "evil.txt").exists()


def test_a_damaged_archive_is_told(bench, own_home, tmp_path):
    archive = tmp_path / "broken.zip"
    archive.write_bytes(b"PK\x03\x04 not really")
    answer = bench("data", "prepare", "duke_oct", "--root", archive)
    assert answer.code == 2
    assert "broken.zip" in answer.err


def test_a_download_is_fetched_unpacked_and_verified(bench, own_home, folder_data, tmp_path, monkeypatch):
    """Over a server on loopback, as the real archives are."""
    served = tmp_path / "served"
    served.mkdir()
    with zipfile.ZipFile(served / "scans.zip", "w") as bundle:
        for path in sorted(folder_data.rglob("*")):
            bundle.write(path, path.relative_to(folder_data))
    handler = functools.partial(Quiet, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        import dataclasses

        from bench.verbs import data

        real = data.card
        url = f"http://127.0.0.1:{server.server_port}/scans.zip"
        with_url = lambda noun, name: dataclasses.replace(real(noun, name), download=url)  # noqa: E731
        monkeypatch.setattr(data, "card", with_url)
        answer = bench("data", "prepare", "folder")
        server.shutdown()
    assert answer.code == 0, answer.err
    assert "4 train" in answer.out


def test_no_network_is_told_with_the_way_around(bench, own_home, monkeypatch):
    import dataclasses

    from bench.verbs import data

    real = data.card
    unreachable = lambda noun, name: dataclasses.replace(  # noqa: E731
        real(noun, name), download="http://127.0.0.1:9/x.zip", url="http://example.org"
    )
    monkeypatch.setattr(data, "card", unreachable)
    answer = bench("data", "prepare", "duke_oct")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "bench data prepare duke_oct --root DIR" in answer.err


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that does not write to standard error."""

    def log_message(self, format, *args):
        """Say nothing."""


def test_unpack_needs_a_file(tmp_path):
    with pytest.raises(Exception, match="no file"):
        unpack(tmp_path / "none.zip", tmp_path / "target")
