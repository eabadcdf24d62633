from pathlib import Path

from difflogic_tonic.config.reference import reference


def test_the_page_of_all_keys_is_what_the_code_says(repository: Path) -> None:
    page = (repository / "docs" / "configuration.md").read_text()
    assert page == reference(), "run: PYTHONPATH=src python -m difflogic_tonic.config.reference > docs/configuration.md"
