"""Reports over run folders: what came out, as tables and pictures. Nothing here trains, and no run is changed.

| module      | what it holds                                                                 |
|-------------|-------------------------------------------------------------------------------|
| `command`   | command of `report.sh` → function                                             |
| `finding`   | job ids, folders and patterns → run folders                                   |
| `reading`   | a run folder → `RecordedRun`, with the reason of whatever is damaged in it    |
| `energy`    | what one recording costs: operations, and an estimate in nanojoules           |
| `columns`   | the columns of the table over runs                                            |
| `aggregate` | that table as CSV                                                             |
"""
