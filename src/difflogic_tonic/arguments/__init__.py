"""The command lines of all entry points. Needs nothing but Python itself, so that `--help` and a mistyped argument are
answered before any environment is installed.

| module     | what it holds                                                            |
|------------|--------------------------------------------------------------------------|
| `commands` | the parser of each entry point                                           |
| `classic`  | command lines of programs that users come from, as configs and overrides |
| `report`   | the parser of `report.sh`, which has several commands                    |
| `deployment` | the parser of `deploy.sh`, likewise                                    |
| `one_line` | a parser that complains in one line                                      |
| `reading`  | a command line into checked arguments                                    |
"""

from difflogic_tonic.arguments.commands import (
    OVERRIDE_EXAMPLE,
    PARSERS,
    add_override_argument,
    check_job_id,
    checkout_path,
    configs_near,
    evaluate_parser,
    override_texts,
    prepare_parser,
    sync_parser,
    train_parser,
)
from difflogic_tonic.arguments.deployment import deploy_parser
from difflogic_tonic.arguments.reading import parse
from difflogic_tonic.arguments.report import report_parser

__all__ = [
    "OVERRIDE_EXAMPLE",
    "PARSERS",
    "add_override_argument",
    "check_job_id",
    "checkout_path",
    "configs_near",
    "deploy_parser",
    "evaluate_parser",
    "override_texts",
    "parse",
    "prepare_parser",
    "report_parser",
    "sync_parser",
    "train_parser",
]
