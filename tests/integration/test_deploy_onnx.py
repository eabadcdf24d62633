"""Networks that were really trained, as ONNX, run by onnxruntime."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from difflogic_tonic.arguments import deploy_parser, parse
from difflogic_tonic.config import StoragePaths
from difflogic_tonic.deploy import onnx_export
from difflogic_tonic.deploy.commands import COMMANDS
from difflogic_tonic.errors import ConfigError, ExportDiffers, UserError

pytestmark = pytest.mark.integration


def deploy(laboratory: Any, *words: str) -> int:
    arguments = parse(deploy_parser(), words)
    return COMMANDS[arguments.command](arguments, StoragePaths(laboratory.scratch, laboratory.project))


def train(laboratory: Any, model_type: str, **section: Any) -> None:
    laboratory.write_config(model_type, epochs=1)
    laboratory.config["model"].setdefault(model_type.lower(), {}).update(section)
    laboratory.config_path.write_text(yaml.safe_dump(laboratory.config))
    laboratory.main()


@pytest.mark.parametrize("model_type", ["MLP", "CNN", "SNN"])
def test_the_file_computes_what_the_network_computes(
    laboratory: Any, capsys: pytest.CaptureFixture[str], model_type: str
) -> None:
    train(laboratory, model_type, **({"architecture": "4C5-MP2-8C5-MP2-FC10"} if model_type == "SNN" else {}))
    capsys.readouterr()
    assert deploy(laboratory, "verify", "job", "--format", "onnx") == 0
    printed = capsys.readouterr().out
    assert "onnx:    none of" in printed
    assert ("fewer frames than the graph" in printed) == (model_type == "SNN")  # its recordings have 2 to 4


def test_the_file_says_what_it_takes(laboratory: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnxruntime

    train(laboratory, "SNN", architecture="4C5-MP2-8C5-MP2-FC10")
    assert deploy(laboratory, "export", "job", "--format", "onnx", "--frames", "2", "--output", str(tmp_path)) == 0
    assert "counts float32[2, 1, 2, 34, 34] to logits" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(tmp_path / "job.onnx"))
    assert (session.get_inputs()[0].name, session.get_inputs()[0].shape) == ("counts", [2, 1, 2, 34, 34])
    assert session.get_modelmeta().custom_metadata_map["classes"] == "0,1,2,3,4,5,6,7,8,9"


def test_another_answer_is_an_error(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    train(laboratory, "MLP")
    with pytest.raises(ConfigError, match="--frames is for networks of sequences; job job takes one frame or image"):
        deploy(laboratory, "export", "job", "--format", "onnx", "--frames", "3")
    export = onnx_export.export_onnx

    def export_another(run: Any, path: Path) -> Any:
        written = export(run, path)
        for parameter in run.model.parameters():
            parameter.data = -parameter.data
        return written

    monkeypatch.setattr("difflogic_tonic.deploy.commands.export_onnx", export_another)
    with pytest.raises(ExportDiffers, match="onnx does not compute"):
        deploy(laboratory, "verify", "job", "--format", "onnx")


def test_what_has_no_such_form_is_refused(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    train(laboratory, "DiffLogic")
    with pytest.raises(ConfigError, match="a logic network has no ONNX form; export it as c, verilog or netlist"):
        deploy(laboratory, "export", "job", "--format", "onnx")
    with pytest.raises(ConfigError, match="--frames is for --format onnx"):
        deploy(laboratory, "export", "job", "--format", "netlist", "--frames", "2")
    monkeypatch.setattr(onnx_export, "PACKAGES", ("onnx", "no_such_runtime"))
    with pytest.raises(UserError, match="ONNX needs no_such_runtime; install with"):
        deploy(laboratory, "export", "job", "--format", "onnx")
