"""A network that was really trained, exported and compared with itself."""

from pathlib import Path
from typing import Any

import pytest

from difflogic_tonic.arguments import deploy_parser, parse
from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import ConfigError, ExportDiffers

pytestmark = pytest.mark.integration

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "dense": {},
    "thermometer": {"encoding": "thermometer", "thermometer_levels": 2, "num_neurons": 2320},
    "conv": {"architecture": "conv", "conv": {"channels": [4, 4], "padding": 0}, "num_neurons": 290},
    "recurrent": {"architecture": "recurrent", "recurrent": {"state": 40}, "num_neurons": 1240},
}


def deploy(laboratory: Any, *words: str) -> int:
    from difflogic_tonic.deploy.commands import COMMANDS

    arguments = parse(deploy_parser(), words)
    return COMMANDS[arguments.command](arguments, StoragePaths(laboratory.scratch, laboratory.project))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_form_of_every_architecture_computes_what_the_network_computes(
    laboratory: Any, capsys: pytest.CaptureFixture[str], architecture: str
) -> None:
    import yaml

    from difflogic_tonic.deploy.formats import CHECKED

    laboratory.write_config("DiffLogic", epochs=1)
    laboratory.config["model"]["difflogic"] |= ARCHITECTURES[architecture]
    laboratory.config_path.write_text(yaml.safe_dump(laboratory.config))
    laboratory.main()
    capsys.readouterr()
    assert deploy(laboratory, "verify", "job") == 0
    printed = capsys.readouterr().out
    assert printed.count(" none of ") == len(CHECKED)


def test_exports_lie_beside_the_model_or_where_one_says(laboratory: Any, tmp_path: Path) -> None:
    laboratory.write_config("DiffLogic", epochs=1)
    laboratory.main()
    assert deploy(laboratory, "export", "job", "--format", "netlist") == 0
    assert (laboratory.project / "models" / "job" / "deploy" / "job.json").is_file()
    assert deploy(laboratory, "export", "job", "--format", "netlist", "--output", str(tmp_path / "there")) == 0
    assert (tmp_path / "there" / "job.json").is_file()


def test_a_form_that_differs_is_an_error_with_its_name(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from difflogic_tonic.deploy import formats

    laboratory.write_config("DiffLogic", epochs=1)
    laboratory.main()
    right = formats.FORMATS["netlist"]
    wrong = formats.Format(right.write, lambda circuit, paths: lambda bits: right.open(circuit, paths)(~bits))
    monkeypatch.setitem(formats.CHECKED, "netlist", wrong)
    with pytest.raises(ExportDiffers, match="netlist does not compute") as refused:
        deploy(laboratory, "verify", "job", "--format", "netlist")
    assert refused.value.exit_code == 12


def test_other_networks_are_refused_by_name(laboratory: Any) -> None:
    laboratory.write_config("MLP", epochs=1)
    laboratory.main()
    with pytest.raises(ConfigError, match="job job has model_type MLP; only DiffLogic becomes a circuit"):
        deploy(laboratory, "export", "job", "--format", "netlist")
