"""Reports over run folders: what came out, as tables and pictures. Nothing here trains, and no run is changed.

| module      | what it holds                                                                 |
|-------------|-------------------------------------------------------------------------------|
| `command`   | command of `report.sh` → function                                             |
| `finding`   | job ids, folders and patterns → run folders                                   |
| `reading`   | a run folder → `RecordedRun`, with the reason of whatever is damaged in it    |
| `energy`    | what one recording costs: operations, and an estimate in nanojoules           |
| `columns`   | the columns of the table over runs                                            |
| `aggregate` | that table as CSV                                                             |
| `table`     | the CSV read again; runs that differ in their seed as one point               |
| `dashboard_command`| from that table to one of the next two                                 |
| `dashboard` | accuracy against cost, as a picture                                           |
| `page`      | the same as one HTML file, to point at and to sort; its script is in `page/`  |
| `pictures`  | every picture of one run                                                      |
| `gallery`   | a folder of pictures, with a page that lists them                             |
| `curves`    | curves over epochs                                                            |
| `answers`   | confusion matrix, accuracy of each class, calibration                         |
| `mistakes`  | the worst mistakes as frames                                                  |
| `prepared`  | the prepared data of a run                                                    |
| `gates`     | gates and wires of a logic network                                            |
| `spikes`    | rasters, membranes, growing scores of a spiking network                       |
| `inside`    | pictures for which the network is asked again                                 |
| `network`   | asking it                                                                     |
| `compare`   | what differs between runs                                                     |
| `watch`     | the progress of a running job                                                 |
| `style`     | colours, shapes, numbers and files                                            |
"""
