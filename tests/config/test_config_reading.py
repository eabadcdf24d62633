from pathlib import Path

import pytest

from difflogic_tonic.config.reading import read_value, read_yaml
from difflogic_tonic.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-2", 0.01),
        ("1E+3", 1000.0),
        (".5", 0.5),
        ("-3", -3),
        ("0", 0),
        ("off", "off"),
        ("no", "no"),
        ("true", True),
        ("001", "001"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("~", None),
        ("", None),
        ("[1, 2]", [1, 2]),
        ("'two words'", "two words"),
        ("job_001", "job_001"),
    ],
)
def test_a_value_is_read_as_yaml_1_2_says(text: str, value: object) -> None:
    result = read_value(text, "here")
    assert result == value
    assert type(result) is type(value)


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- 1\n- 2\n", "expected sections with keys, found list"),
        ("just text", "expected sections with keys, found str"),
        ("train:\n  epochs: 1\n  epochs: 2\n", ":3: key 'epochs' is given twice; keep one"),
        ("train: {epochs: 1\n", "check the indentation and quotes of this line"),
        ("a: 1\n---\nb: 2\n", "expected a single document in the stream: but found another document"),
        ("1: 2\n", "key 1 is not text"),
        ("a: *b\n", "undefined alias"),
        ("a: !!python/object:os.system {}\n", "could not determine a constructor"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_config_is_refused_by_name_and_reason(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        read_yaml(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_absent_file_is_refused_with_the_files_beside_it(tmp_path: Path) -> None:
    written(tmp_path, "train: {}")
    with pytest.raises(ConfigError, match=r"no such config file; in .* there are: config\.yaml"):
        read_yaml(tmp_path / "confg.yaml")


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        read_yaml(tmp_path)
