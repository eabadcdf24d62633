"""What `check_and_sync_data.sh` does: which prepared datasets lie where, and what can be done about it.

| module       | what it holds                                                                    |
|--------------|----------------------------------------------------------------------------------|
| `inventory`  | every variant of every dataset in every place: present, partial or corrupt       |
| `copies`     | copying what one place lacks, mending what is corrupt                            |
| `removal`    | `--remove`                                                                       |
| `garbage`    | `gc`: old checkpoints, failed runs, leftovers                                    |
| `usage`      | files, bytes, free space and quota of a place                                    |
| `table`      | all that as text or JSON                                                         |
| `sampling`   | recordings and statistics of a prepared variant as arrays                        |
| `pictures`   | a recording as contact sheet and animation                                       |
| `charts`     | the statistics of a split as one picture                                         |
| `show`       | which variant to look at, and the files that come of it                          |
| `command`    | the command lines put into action                                                |
"""
