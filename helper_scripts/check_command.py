"""Check a command line before its environment is complete: `check_command.py arguments|config SCRIPT ARGUMENTS…`.

`arguments` needs only Python; `config` also reads the config, for which pydantic and PyYAML must be installed.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from difflogic_tonic.arguments import PARSERS, checkout_path, configs_near, parse  # noqa: E402
from difflogic_tonic.errors import ConfigError, run_command  # noqa: E402


def main(argv: Sequence[str]) -> int:
    stage, script, *rest = argv
    name = Path(script).name
    arguments = parse(PARSERS[name](), rest)
    if stage == "arguments":
        config = getattr(arguments, "config", None)
        if config is not None and not checkout_path(config, ROOT).is_file():
            near = configs_near(config, checkout_path(Path(config).parent, ROOT))
            raise ConfigError(f"{config}: no such config file{near}")
        return 0
    from difflogic_tonic.config import load_prepare_config, load_train_config

    if name == "main.py":
        load_train_config(arguments.config, arguments.override, arguments.job_id)
    elif name == "prepare_data.py":
        load_prepare_config(arguments.config, arguments.override)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
