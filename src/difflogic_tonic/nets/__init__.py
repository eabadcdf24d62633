"""Networks and their layers; nothing here knows of configs, caches or files.

Every network is called as `net(frames, lengths=None)` with float frames from `data.expand` and returns logits
f32[B, classes].

| module         | what it holds                                                                        |
|----------------|--------------------------------------------------------------------------------------|
| `cnn`, `mlp`   | the frame-based baselines                                                            |
| `spiking`      | spiking networks over sequences, built from a string such as 12C5-MP2-64C5-MP2-FC10  |
| `architecture` | the parser of such strings                                                           |
| `neurons`      | LIF neurons over time: one module, a plain autograd reference and a fused CPU kernel |
| `lif_cpu`      | that kernel                                                                          |
| `steps`        | sequences of unequal length without their padding                                    |
| `surrogates`   | derivatives that stand in for the step function's                                    |
| `initial`      | initial weights that depend on a seed only                                           |
| `logic/`       | logic gate networks                                                                  |
"""
