"""A trained logic network outside of Python: written in other forms, checked there, timed.

| module     | what it holds                                                                   |
|------------|---------------------------------------------------------------------------------|
| `commands` | the sub-commands of `deploy.py`                                                 |
| `job`      | from a job id to the circuit, the network it comes from and the test set        |
| `formats`  | the table of forms: how each is written, and run again on the samples of a test |
| `runner`   | what every form becomes when it is read again: bits to scores                   |
| `c_export`, `c_run`, `c/` | C99 from templates; compiled, loaded and called                  |
| `gate_files` | BLIF and AIGER with the head of the network as gates                          |
| `bench`    | how fast the evaluator runs the circuit of a job                                |
| `verify`   | every form against the hard forward of the network, bit by bit                  |
| `verilog`  | the circuit as a Verilog module; `verilog_top` the one around it, `testbench`   |
|            | its test, `verilog_files` all of them as files and in a simulator               |
| `pipeline` | where registers stand                                                           |
| `synthesis`| look-up tables, registers and levels by Yosys                                   |
| `onnx_export` | the networks that are not logic, as ONNX                                     |
"""
