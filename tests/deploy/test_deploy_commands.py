"""Tables of commands and forms, and the counting behind `verify`."""

import numpy as np
import pytest

from difflogic_tonic.arguments import deploy_parser, deployment, parse
from difflogic_tonic.config import StoragePaths
from difflogic_tonic.deploy import commands, formats
from difflogic_tonic.deploy.job import Labelled
from difflogic_tonic.deploy.verify import classes_of, compare
from difflogic_tonic.errors import ConfigError


def test_every_command_and_form_has_its_help_and_its_code():
    assert list(deployment.COMMANDS) == list(commands.COMMANDS)
    assert list(deployment.FORMATS) == list(formats.FORMATS)


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon"])
def test_a_stream_ends_after_a_time_that_can_be_waited_for(seconds):
    with pytest.raises(ConfigError, match="expected seconds from 0"):
        parse(deploy_parser(), ["stream", "-", "--job", "job", f"--idle={seconds}"])
    assert parse(deploy_parser(), ["stream", "-", "--job", "job", "--idle", "0.5"]).idle == 0.5


@pytest.mark.parametrize(
    ("job_id", "name"),
    [
        ("job_001", "job_001"),
        ("my-run.3", "my_run_3"),
        ("1st-run", "job_1st_run"),
        ("module", "job_module"),
        ("größe", "gr__e"),
    ],
)
def test_files_are_named_after_the_job_as_c_and_verilog_take_it(job_id, name):
    assert commands.file_name(job_id) == name


@pytest.mark.parametrize("words", [[], ["export", "job"], ["export", "--format", "netlist"], ["melt", "job"]])
def test_incomplete_command_lines_are_one_line(words):
    with pytest.raises(ConfigError, match=r"deploy.sh.*--help lists the arguments"):
        parse(deploy_parser(), words)


@pytest.mark.parametrize(
    "words",
    [
        ["verify", "job", "--samples", "0"],
        ["bench", "job", "--threads", "0"],
        ["export", "job", "--format", "onnx", "--frames", "0"],
    ],
)
def test_none_at_all_is_no_number_of_samples_threads_or_frames(words):
    with pytest.raises(ConfigError, match="'0': expected a whole number from 1"):
        parse(deploy_parser(), words)


def test_verify_refuses_a_network_s_form_beside_those_of_circuits_before_it_opens_the_job(tmp_path):
    arguments = parse(deploy_parser(), ["verify", "no_such_job", "--format", "c", "--format", "onnx"])
    with pytest.raises(ConfigError, match="--format onnx is not a form of a circuit; verify it alone"):
        commands.verify(arguments, StoragePaths(tmp_path, tmp_path))


def test_verify_takes_several_forms():
    arguments = parse(deploy_parser(), ["verify", "job", "--format", "netlist", "--samples", "10"])
    assert (arguments.format, arguments.samples, arguments.weights) == (["netlist"], 10, "best")


FRAMES = Labelled(
    bits=np.array([[1, 0], [0, 1], [1, 1]], bool),
    lengths=np.ones(3, np.int64),
    labels=np.array([0, 1, 1]),
    scores=np.array([[2, 0], [0, 2], [2, 2]], np.int32),
    classes=np.array([0, 1, 0]),
)


def test_samples_with_another_score_are_counted():
    same = compare(lambda bits: 2 * bits.astype(np.int32), [FRAMES, FRAMES], "frame")
    assert (same.samples, same.different, same.right) == (6, 0, 4)
    other = compare(lambda bits: np.maximum(2 * bits.astype(np.int32), 1), [FRAMES], "frame")
    assert (other.different, other.right) == (2, 2)


def test_sequences_are_classified_by_their_own_frames_only():
    scores = np.array([[[5, 0], [1, 0]], [[0, 6], [0, 2]], [[0, 9], [9, 0]]])  # [T, N, classes]
    assert classes_of(scores, np.array([1, 2]), "mean").tolist() == [0, 1]
    assert classes_of(scores, np.array([2, 3]), "last").tolist() == [1, 0]
    assert classes_of(scores, np.array([3, 3]), "mean").tolist() == [1, 0]


def test_a_sequence_differs_where_one_of_its_frames_does():
    scores = np.zeros((3, 2, 2), np.int32)
    batch = Labelled(np.zeros((3, 2, 1), bool), np.array([3, 3]), np.zeros(2, np.int64), scores, np.zeros(2, np.int64))
    changed = scores.copy()
    changed[1, 1, 0] = 1
    assert compare(lambda bits: changed, [batch], "mean").different == 1
