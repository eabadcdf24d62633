import logging
import shutil
import stat
from pathlib import Path

import pytest
import torch

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.logic import LogicNetwork, cpu, cpu_build
from difflogic_tonic.storage import compiled

COMPILER = shutil.which("gcc") or shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Sources, home and temporary folder of this test's own, with nothing built."""
    sources = tmp_path / "kernel"
    shutil.copytree(cpu_build.SOURCES, sources, ignore=shutil.ignore_patterns("*.so"))
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(cpu_build, "SOURCES", sources)
    monkeypatch.setattr(cpu_build, "FLAGS", ("-O0", *cpu_build.FLAGS[1:]))  # quicker to build
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(compiled.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    return tmp_path


def libraries(places: Path) -> list[Path]:
    return sorted(path for path in places.rglob("*") if path.is_file() and path.suffix not in (".c", ".h"))


def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)


@needs_compiler
def test_the_first_use_builds_into_the_cache_of_the_user_and_the_second_finds_it(places):
    cpu_build.load_library()
    (built,) = libraries(places)
    assert built.parent == places / "home" / ".cache" / "difflogic-tonic"
    before = built.stat()
    cpu_build.load_library()
    assert libraries(places) == [built]
    assert built.stat().st_ino == before.st_ino


@needs_compiler
def test_an_installation_builds_what_the_first_use_would(places):
    assert cpu_build.main(["--cache"]) == 0
    built = libraries(places)
    cpu_build.load_library()
    assert libraries(places) == built != []


def test_an_installation_without_a_compiler_says_what_follows(places, monkeypatch, capsys):
    without_compiler(monkeypatch)
    assert cpu_build.main(["--cache"]) == 1
    assert capsys.readouterr().err == (
        "there is no gcc or cc on the PATH: logic networks will run in plain torch, which is slower\n"
    )


@needs_compiler
def test_a_home_that_cannot_be_written_sends_the_library_to_a_private_temporary_folder(places):
    (places / "home" / ".cache").write_text("a file where a folder should be")
    cpu_build.load_library()
    built = [path for path in libraries(places) if path.suffix == ".so"]
    assert [path.parent.parent for path in built] == [places / "tmp"]
    assert stat.S_IMODE(built[0].parent.stat().st_mode) == 0o700


@needs_compiler
def test_a_temporary_folder_that_others_can_write_to_is_not_trusted(places):
    cpu_build.load_library()
    (built,) = libraries(places)
    private = next(path for path in (places / "tmp").iterdir())
    shutil.move(built, private / built.name)
    private.chmod(0o777)
    assert private not in list(compiled.cache_folders())


@needs_compiler
def test_without_any_folder_to_build_in_the_reason_is_given(places, monkeypatch):
    (places / "home" / ".cache").write_text("a file where a folder should be")
    shutil.rmtree(places / "tmp")
    with pytest.raises(cpu_build.KernelUnavailable, match=r"home/\.cache"):
        cpu_build.load_library()

    def none_at_all() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(compiled.tempfile, "gettempdir", none_at_all)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(cpu_build.KernelUnavailable, match="neither the home nor the temporary folder"):
        cpu_build.load_library()


@needs_compiler
def test_changed_sources_get_a_library_of_their_own(places):
    cpu_build.load_library()
    with (places / "kernel" / "tile.h").open("a") as source:
        source.write("\n")
    cpu_build.load_library()
    assert len(libraries(places)) == 2


@needs_compiler
def test_a_damaged_library_is_built_again(places):
    damaged = next(compiled.cache_folders()) / cpu_build._sources().file_name(COMPILER)
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"not a library")
    cpu_build.load_library()
    assert libraries(places) == [damaged]
    assert damaged.stat().st_size > 1000


@needs_compiler
def test_a_library_beside_the_sources_serves_where_there_is_no_compiler(places, monkeypatch, capsys):
    assert cpu_build.main([]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(libraries(places)[0])
    without_compiler(monkeypatch)
    cpu_build.load_library()
    assert [path.parent for path in libraries(places)] == [places / "kernel"]


@needs_compiler
def test_what_the_compiler_refuses_is_reported_in_one_line_and_leaves_nothing(places):
    (places / "kernel" / "stack.c").write_text("this is not C;")
    with pytest.raises(cpu_build.KernelUnavailable, match=r"failed on .*stack\.c:.*error") as caught:
        cpu_build.load_library()
    assert "\n" not in str(caught.value)
    assert libraries(places) == []


def test_compiled_by_clang_it_computes_the_same_network(places, monkeypatch, program):
    clang = program("clang")
    monkeypatch.setattr(compiled, "find_compiler", lambda: clang)
    network = LogicNetwork(40, 40, 2, 4, backend="cpu")
    x = (torch.rand(70, 40) < 0.5).to(torch.uint8)
    cpu.find_kernel.cache_clear()
    try:
        found = [network(x)]
        found += torch.autograd.grad(found[0].square().sum(), list(network.parameters()))
    finally:
        cpu.find_kernel.cache_clear()
    network.backend = "eager"
    expected = [network(x)]
    expected += torch.autograd.grad(expected[0].square().sum(), list(network.parameters()))
    assert len(libraries(places)) == 1
    assert len(found) > 1
    for ours, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-4)


def test_without_compiler_and_library_the_reason_is_given(places, monkeypatch, capsys):
    without_compiler(monkeypatch)
    with pytest.raises(cpu_build.KernelUnavailable, match="no gcc or cc"):
        cpu_build.load_library()
    assert cpu_build.main([]) == 1
    assert "plain torch" in capsys.readouterr().err


def test_without_a_kernel_auto_runs_in_plain_torch_and_says_so_once(places, monkeypatch, caplog):
    without_compiler(monkeypatch)
    cpu.find_kernel.cache_clear()
    try:
        network = LogicNetwork(6, 6, 2, 3)
        x = torch.ones(2, 6)
        with caplog.at_level(logging.WARNING):
            first = network(x)
            network(x)
        assert [record.message for record in caplog.records] == [
            "logic networks run in plain torch, which is several times slower: there is no gcc or cc on the PATH"
        ]
        network.backend = "eager"
        assert torch.equal(first, network(x))
        network.backend = "cpu"
        with pytest.raises(ConfigError, match="backend cpu: there is no gcc or cc on the PATH; backend auto falls"):
            network(x)
    finally:
        cpu.find_kernel.cache_clear()
