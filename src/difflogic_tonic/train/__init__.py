"""Training: the step, the evaluation, the loop around them, and what a run prints.

| module      | what it holds                                                                 |
|-------------|-------------------------------------------------------------------------------|
| `step`      | one optimizer step                                                            |
| `losses`    | what training makes small                                                     |
| `precision` | autocast and loss scaling                                                     |
| `ranks`     | the processes that train together, and what they tell each other              |
| `rendezvous`| how they find each other, and part                                            |
| `heartbeat` | whether the others still live                                                 |
| `gradients` | gradients added up over all processes                                         |
| `probe`     | one step in fp16 before a run begins, and where values stop being finite      |
| `flat`      | a loss that stands still, and why                                             |
| `optimizer` | optimizers and learning rate schedules                                        |
| `temperature`| temperature schedules of logic networks                                      |
| `thresholds`| thresholds of a logic network's inputs that come from the data                |
| `tally`     | exact counts and sums of an evaluation, per frame and per recording           |
| `scores`    | what epochs are compared by                                                   |
| `state`     | everything that a resume needs, in one place                                  |
| `foreign`   | going on from checkpoints of SpikingJelly                                     |
| `saving`    | when a checkpoint is due, and the signal that asks for one                    |
| `fit`       | epochs: train, evaluate, choose the best                                      |
| `rows`      | the rows of metrics.jsonl                                                     |
| `final`     | the last look at a finished run: predictions, spikes                          |
| `inputs`    | the cached variant of a config, its splits, and the model                     |
| `resume`    | what may change between two starts of a run, and what may not                 |
| `run`       | one run with everything open: train, save, say what came out                  |
| `session`   | from what the command line asked for to a run                                 |
| `classic`   | command lines of other programs                                               |
| `evaluation`| a finished run evaluated again                                                |
| `preflight` | memory and disk that a run will need                                          |
| `rehearsal` | `--debug`: a few batches through every stage                                  |
| `spike_statistics`| spikes counted in training and evaluations                              |
| `encoder_pictures`| the encoder's spikes as pictures                                        |
| `lines`     | what is printed                                                               |
"""
