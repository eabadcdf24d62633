"""What a run leaves on disk, and how it stops and goes on. Importing this package imports neither torch nor numpy.

| module        | what it holds                                                                        |
|---------------|--------------------------------------------------------------------------------------|
| `signals`     | stop signals that only set a flag                                                    |
| `folder`      | the run folder and its siblings, `RunExists`, `--fresh`                              |
| `lease`       | one living process per job id                                                        |
| `environment` | versions, commit, host, CPU                                                          |
| `checkpoint`  | checkpoint files: atomic, checked, newest two kept, fallback                         |
| `writer`      | the thread that writes and mirrors them                                              |
| `model_file`  | trained models: `best.pt`, `last.pt`                                                 |
| `metrics`     | `metrics.jsonl` and the TensorBoard events that mirror it                            |
| `tags`        | what TensorBoard and other sinks get of a row                                       |
| `wandb_sink`  | the same rows to Weights & Biases, for those who ask for it                         |
| `predictions` | `predictions.npz` and `confusion.json`: what the chosen model says of the test data  |
| `status`      | `status.json`, and the reason of a failure                                           |
| `log`         | console and log file                                                                 |
"""
