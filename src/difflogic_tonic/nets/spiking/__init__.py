"""Spiking networks over sequences of frames.

| module             | what it holds                                                     |
|--------------------|-------------------------------------------------------------------|
| `model`            | a network between its input and its head                          |
| `inputs`           | what it sees at each step: frames of events, images coded in time |
| `heads`            | readouts: from the outputs of every step to class scores          |
| `catalogue`        | from the name of a network, or a string, to the network           |
| `string_network`   | networks built from a string such as 12C5-MP2-64C5-MP2-FC10       |
| `conv_fc`          | the Fashion-MNIST network and the parametric-LIF ones             |
| `resnet`           | spiking ResNets and SEW ResNets                                   |
| `dense`            | two dense layers with a memory, for sequential Fashion-MNIST      |
| `interchange`      | states of SpikingJelly and torchvision                            |
| `layers`           | votes, and what the networks share                                |
| `stepwise`         | layers in a row, over packed steps                                |
| `hoist`            | what is computed once for a still image                           |
| `recompute`        | activations computed again in the backward pass                   |
| `recurrence`       | layers that hear their own output; synapses that remember         |
| `neurons`          | neurons over time: one module with a choice of kernels            |
| `neuron_reference` | plain autograd                                                    |
| `rule`             | their constants                                                   |
| `neuron_cpu`       | those for the CPU: calls; `neuron_kernels` in numba               |
| `neuron_gpu`       | those for CUDA: launches; `neuron_triton` in Triton               |
| `surrogates`       | derivatives that stand in for the step function's                 |
| `conv`             | convolutions: of spikes by lookup on the CPU; `spike_conv_cpu`    |
| `pooling`          | max pooling that is fast on the CPU                               |
| `dropout`          | dropout over the steps of a sequence                              |
| `steps`            | sequences of unequal length without their padding                 |
| `spikes`           | spikes, synaptic operations and membranes, counted                |
"""
