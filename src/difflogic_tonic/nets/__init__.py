"""Networks and their layers; nothing here knows of configs, caches or files.

Every network is called as `net(frames, lengths=None)` with float frames from `data.expand` and returns logits
f32[B, classes].

| module       | what it holds                                                                       |
|--------------|-------------------------------------------------------------------------------------|
| `cnn`, `mlp` | the frame-based baselines                                                           |
| `initial`    | initial weights that depend on a seed only                                          |
| `moment`     | the training step: what decides chance, and which part of the batch is seen         |
| `dropout`    | dropout that is a function of step, layer and sample                                |
| `shared_norm`| batch normalisation over a batch that several processes share                       |
| `spiking/`   | spiking networks over sequences, built from a string such as 12C5-MP2-64C5-MP2-FC10 |
| `logic/`     | logic gate networks                                                                 |
"""
