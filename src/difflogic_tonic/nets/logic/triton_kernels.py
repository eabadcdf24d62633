"""Triton kernels that train a logic network on a GPU. Imported by gpu.py, and only where triton is installed.

Layout: a row is one feature or neuron over the whole batch, [rows, stride], the batch padded to a stride of whole
16-byte pieces (a multiple of 16 columns), so that every load and store moves 16 bytes per thread. Columns behind the
batch hold finite numbers, and their gradient is zero: no mask but the stride is needed.

    pack_inputs         bytes, or packed bits, by sample -> bits by feature
    mix_gates           16 logits per neuron -> 4 coefficients
    forward_layer       y = c0 + c1 a + c2 b + c3 a b, a block of neurons x a block of columns per program
    forward_groups      the same for the last layer, added up instead of written: partial sums of GroupSum
    sum_groups          these partial sums -> logits
    spread_gradient     gradient of the logits -> one row per class, scaled into the range of half precision
    backward_layer      a block of input rows per program: their gradient, and that of the neurons that read them as a
    backward_weights    the gradient of the coefficients alone, for a first layer
    mix_gates_backward  gradient of coefficients -> gradient of logits

backward_layer walks the edges of each row (reader, side), so a row's gradient is written once, by one program. Each
neuron has one a-edge, and whoever walks it has a (its own row), b and the gradient of the output at hand: there the
gradient of the coefficients is reduced and written, once per block of columns. Nothing is added atomically, all sums
have a fixed order, and the same call gives the same bits.

Numbers that only depend on the batch are not specialised: the last, shorter batch of an epoch compiles nothing anew.

Values and gradients are stored as float32, bfloat16 or float16; all arithmetic is float32. One more axis is one more
word in an index: [octets, 8] in the kernels that read bits are the columns, eight to a byte.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
# (triton takes an annotation other than constexpr for the type of a machine word)

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["batch", "octets_all"])
def pack_inputs(
    x, bits, batch, features, columns, octets_all, PACKED: tl.constexpr, OCTETS: tl.constexpr, FEATURES: tl.constexpr
):
    """x u8[batch, columns], above zero is 1, or PACKED eight features to a byte -> bits u8[features, octets_all]."""
    feature = tl.program_id(0) * FEATURES + tl.arange(0, FEATURES)
    octet = tl.program_id(1) * OCTETS + tl.arange(0, OCTETS)
    lane = tl.arange(0, 8)[None, :, None]
    sample = (octet[:, None, None] * 8 + lane).to(tl.int64)
    column = (feature // 8 if PACKED else feature)[None, None, :]
    inside = (sample < batch) & (feature < features)[None, None, :]
    cell = tl.load(x + sample * columns + column, mask=inside, other=0).to(tl.int32)
    if PACKED:
        bit = (cell >> (feature % 8)[None, None, :]) & 1
    else:
        bit = (cell != 0).to(tl.int32)
    byte = tl.sum(bit << lane, 1).to(tl.uint8)
    target = feature.to(tl.int64)[None, :] * octets_all + octet[:, None]
    tl.store(bits + target, byte, mask=(feature < features)[None, :] & (octet < octets_all)[:, None])


@triton.jit
def _gate_columns(gate):
    """The four coefficients of gates by number, f32 in the shape of `gate`: see gates.gate_coefficients."""
    f00, f01, f10, f11 = (gate >> 3) & 1, (gate >> 2) & 1, (gate >> 1) & 1, gate & 1
    c0, c1, c2, c3 = f00, f10 - f00, f01 - f00, f11 - f10 - f01 + f00
    return c0.to(tl.float32), c1.to(tl.float32), c2.to(tl.float32), c3.to(tl.float32)


@triton.jit
def _gate_probabilities(logits, neuron, gate, valid, inverse_temperature):
    """softmax(logits / temperature), f32[neurons, 16]."""
    w = tl.load(logits + neuron.to(tl.int64)[:, None] * 16 + gate, mask=valid[:, None], other=0.0)
    e = tl.exp((w - tl.max(w, 1)[:, None]) * inverse_temperature)
    return e / tl.sum(e, 1)[:, None]


@triton.jit
def mix_gates(logits, coefficients, n, inverse_temperature, NEURONS: tl.constexpr):
    """logits f32[n, 16] -> coefficients f32[n, 4]."""
    neuron = tl.program_id(0) * NEURONS + tl.arange(0, NEURONS)
    gate = tl.arange(0, 16)[None, :]
    valid = neuron < n
    p = _gate_probabilities(logits, neuron, gate, valid, inverse_temperature)
    m0, m1, m2, m3 = _gate_columns(gate)
    target = coefficients + neuron.to(tl.int64) * 4
    tl.store(target, tl.sum(p * m0, 1), mask=valid)
    tl.store(target + 1, tl.sum(p * m1, 1), mask=valid)
    tl.store(target + 2, tl.sum(p * m2, 1), mask=valid)
    tl.store(target + 3, tl.sum(p * m3, 1), mask=valid)


@triton.jit(do_not_specialize=["chunks"])
def mix_gates_backward(logits, partial, grad_logits, n, neurons, chunks, inverse_temperature, NEURONS: tl.constexpr):
    """partial f32[chunks, neurons, 4] from this layer's first neuron on -> gradient of its logits f32[n, 16]."""
    neuron = tl.program_id(0) * NEURONS + tl.arange(0, NEURONS)
    gate = tl.arange(0, 16)[None, :]
    valid = neuron < n
    p = _gate_probabilities(logits, neuron, gate, valid, inverse_temperature)
    m0, m1, m2, m3 = _gate_columns(gate)
    pull = tl.zeros([NEURONS, 16], tl.float32)  # gradient of each gate's probability
    source = partial + neuron.to(tl.int64) * 4
    for _ in range(chunks):
        pull += m0 * tl.load(source, mask=valid, other=0.0)[:, None]
        pull += m1 * tl.load(source + 1, mask=valid, other=0.0)[:, None]
        pull += m2 * tl.load(source + 2, mask=valid, other=0.0)[:, None]
        pull += m3 * tl.load(source + 3, mask=valid, other=0.0)[:, None]
        source += neurons * 4
    mean = tl.sum(p * pull, 1)[:, None]
    grad = p * (pull - mean) * inverse_temperature
    tl.store(grad_logits + neuron.to(tl.int64)[:, None] * 16 + gate, grad, mask=valid[:, None])


@triton.jit
def _read_rows(x, row, octet, stride, BITS: tl.constexpr):
    """f32[rows, octets, 8] of the given rows of x [rows, stride]; BITS: u8[rows, stride / 8], lowest bit first."""
    inside = (octet * 8 < stride)[None, :, None]
    lane = tl.arange(0, 8)[None, None, :]
    start = row.to(tl.int64)[:, None, None]
    if BITS:
        byte = tl.load(x + start * (stride // 8) + octet[None, :, None], mask=inside, other=0)
        return ((byte.to(tl.int32) >> lane) & 1).to(tl.float32)
    else:
        cell = x + start * stride + (octet[None, :, None] * 8 + lane)
        return tl.load(cell, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _outputs(x, wiring, coefficients, neuron, valid, octet, n, stride, BITS: tl.constexpr):
    """f32[neurons, octets, 8]: what these neurons say; 0 for a neuron that is not valid."""
    a = _read_rows(x, tl.load(wiring + neuron, mask=valid, other=0), octet, stride, BITS)
    b = _read_rows(x, tl.load(wiring + n + neuron, mask=valid, other=0), octet, stride, BITS)
    source = coefficients + neuron.to(tl.int64) * 4
    c0 = tl.load(source, mask=valid, other=0.0)[:, None, None]
    c1 = tl.load(source + 1, mask=valid, other=0.0)[:, None, None]
    c2 = tl.load(source + 2, mask=valid, other=0.0)[:, None, None]
    c3 = tl.load(source + 3, mask=valid, other=0.0)[:, None, None]
    return (c0 + c1 * a) + b * (c2 + c3 * a)


@triton.jit
def forward_layer(x, y, wiring, coefficients, n, stride, BITS: tl.constexpr, ROWS: tl.constexpr, OCTETS: tl.constexpr):
    """x [in, stride] or bits, wiring i32[2, n], coefficients f32[n, 4] -> y [n, stride]."""
    neuron = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    octet = tl.program_id(1) * OCTETS + tl.arange(0, OCTETS)
    valid = neuron < n
    value = _outputs(x, wiring, coefficients, neuron, valid, octet, n, stride, BITS)
    column = octet[None, :, None] * 8 + tl.arange(0, 8)[None, None, :]
    inside = valid[:, None, None] & (octet * 8 < stride)[None, :, None]
    tl.store(y + neuron.to(tl.int64)[:, None, None] * stride + column, value, mask=inside)


@triton.jit(do_not_specialize=["splits", "steps"])
def forward_groups(
    x,
    partial,
    wiring,
    coefficients,
    n,
    group,
    splits,
    steps,
    stride,
    BITS: tl.constexpr,
    ROWS: tl.constexpr,
    OCTETS: tl.constexpr,
):
    """The last layer: partial f32[classes, splits, stride], sums over steps * ROWS neurons of one class."""
    label, split = tl.program_id(0), tl.program_id(1)
    octet = tl.program_id(2) * OCTETS + tl.arange(0, OCTETS)
    total = tl.zeros([ROWS, OCTETS, 8], tl.float32)
    for step in range(steps):
        within = (split * steps + step) * ROWS + tl.arange(0, ROWS)
        valid = within < group
        total += _outputs(x, wiring, coefficients, label * group + within, valid, octet, n, stride, BITS)
    column = octet[:, None] * 8 + tl.arange(0, 8)[None, :]
    target = partial + (label * splits + split).to(tl.int64) * stride + column
    tl.store(target, tl.sum(total, 0), mask=(octet * 8 < stride)[:, None])


@triton.jit(do_not_specialize=["batch", "splits"])
def sum_groups(
    partial, logits, batch, classes, splits, stride, inverse_tau, SPLITS: tl.constexpr, COLUMNS: tl.constexpr
):
    """partial f32[classes, splits, stride] -> logits f32[batch, classes]."""
    label = tl.program_id(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros([SPLITS, COLUMNS], tl.float32)
    for first in range(0, splits, SPLITS):
        split = first + tl.arange(0, SPLITS)
        source = partial + (label * splits + split).to(tl.int64)[:, None] * stride + column[None, :]
        total += tl.load(source, mask=(split < splits)[:, None] & (column < batch)[None, :], other=0.0)
    target = logits + column.to(tl.int64) * classes + label
    tl.store(target, tl.sum(total, 0) * inverse_tau, mask=column < batch)


@triton.jit(do_not_specialize=["batch"])
def spread_gradient(grad, largest, unscale, rows, batch, classes, stride, inverse_tau, COLUMNS: tl.constexpr):
    """grad f32[batch, classes] -> rows f32[classes, stride], zero behind the batch, divided by tau and `unscale`.

    `largest`: the largest absolute value of grad. `unscale` f32[1] becomes the power of two that brings the largest
    row value into [1, 2): no digit is lost, and half precision then holds gradients down to 6e-8 of the largest.
    """
    label = tl.program_id(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    exponent = ((tl.load(largest) * inverse_tau).to(tl.int32, bitcast=True) >> 23) & 0xFF
    # zero, infinite and NaN gradients keep a finite scale
    exponent = tl.minimum(tl.maximum(exponent, 27), 227)
    factor = ((254 - exponent) << 23).to(tl.float32, bitcast=True)
    value = tl.load(grad + column.to(tl.int64) * classes + label, mask=column < batch, other=0.0)
    tl.store(rows + label * stride + column, value * inverse_tau * factor, mask=column < stride)
    tl.store(unscale, (exponent << 23).to(tl.float32, bitcast=True), mask=(label == 0) & (tl.program_id(1) == 0))


@triton.jit
def backward_layer(
    x,
    gy,
    gx,
    starts,
    readers,
    others,
    coefficients,
    partial,
    unscale,
    width,
    neurons,
    group,
    stride,
    GROUPED: tl.constexpr,
    UNSCALE: tl.constexpr,
    EDGES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """x [width, stride], gradient gy of the outputs -> gx [width, stride] and partial f32[column blocks, neurons, 4].

    Row r has the edges starts[r] to starts[r + 1]; an edge is readers i32 (2 * neuron, + 1 where it reads r as b) and
    others i32 (the row that this neuron reads with its other input). gy has one row per neuron, or GROUPED one per
    `group` neurons. `neurons` is those of all layers, `partial` points to this layer's first. EDGES edges of each row
    are loaded before the first is used. `unscale` multiplies partial, and gx where UNSCALE.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    chunk = tl.program_id(1)
    column = (chunk * COLUMNS + tl.arange(0, COLUMNS))[None, None, :]
    inside = column < stride
    first = tl.load(starts + row, mask=row < width, other=0)[None, :]
    last = tl.load(starts + row + 1, mask=row < width, other=0)[None, :]
    cell = row.to(tl.int64)[None, :, None] * stride + column
    real = (row < width)[None, :, None] & inside
    own = tl.load(x + cell, mask=real, other=0.0).to(tl.float32)
    back = tl.load(unscale)
    total = tl.zeros([1, ROWS, COLUMNS], tl.float32)
    for step in range(0, tl.max(last - first), EDGES):
        edge = first + step + tl.arange(0, EDGES)[:, None]
        active = edge < last
        reader = tl.load(readers + edge, mask=active, other=0)
        other = tl.load(others + edge, mask=active, other=0).to(tl.int64)
        neuron, is_b = reader >> 1, reader & 1
        here = active[:, :, None] & inside
        source = (neuron // group if GROUPED else neuron).to(tl.int64)
        g = tl.load(gy + source[:, :, None] * stride + column, mask=here, other=0.0).to(tl.float32)
        v = tl.load(x + other[:, :, None] * stride + column, mask=here, other=0.0).to(tl.float32)
        numbers = coefficients + neuron.to(tl.int64) * 4
        slope = tl.load(numbers + 1 + is_b, mask=active, other=0.0)[:, :, None]
        bend = tl.load(numbers + 3, mask=active, other=0.0)[:, :, None]
        total += tl.sum(g * (slope + bend * v), 0, keep_dims=True)
        _write_sums(partial, chunk, neurons, neuron, active & (is_b == 0), g, own, v, back)
    if UNSCALE:
        total *= back
    tl.store(gx + cell, total, mask=real)


@triton.jit
def _write_sums(partial, chunk, neurons, neuron, write, g, a, b, unscale):
    """The gradient of the coefficients of neuron [EDGES, ROWS] over this block of columns, the last axis of g, a, b."""
    ga = g * a
    # joined, so that they are written as one piece of 16 bytes
    one_b = tl.join(tl.sum(g, 2), tl.sum(g * b, 2))
    a_ab = tl.join(tl.sum(ga, 2), tl.sum(ga * b, 2))
    sums = tl.reshape(tl.join(one_b, a_ab), [neuron.shape[0], neuron.shape[1], 4])
    target = partial + (chunk.to(tl.int64) * neurons + neuron)[:, :, None] * 4 + tl.arange(0, 4)[None, None, :]
    tl.store(target, sums * unscale, mask=write[:, :, None])


@triton.jit
def backward_weights(
    x,
    gy,
    wiring,
    partial,
    unscale,
    n,
    neurons,
    group,
    stride,
    GROUPED: tl.constexpr,
    BITS: tl.constexpr,
    ROWS: tl.constexpr,
    OCTETS: tl.constexpr,
):
    """As backward_layer without gx: a block of neurons per program, which reads two rows for each."""
    neuron = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    chunk = tl.program_id(1)
    octet = chunk * OCTETS + tl.arange(0, OCTETS)
    valid = neuron < n
    a = _read_rows(x, tl.load(wiring + neuron, mask=valid, other=0), octet, stride, BITS)
    b = _read_rows(x, tl.load(wiring + n + neuron, mask=valid, other=0), octet, stride, BITS)
    g = _read_rows(gy, tl.where(valid, neuron // group if GROUPED else neuron, 0), octet, stride, False)
    shape: tl.constexpr = [1, ROWS, OCTETS * 8]
    g, a, b = tl.reshape(g, shape), tl.reshape(a, shape), tl.reshape(b, shape)
    _write_sums(partial, chunk, neurons, neuron[None, :], valid[None, :], g, a, b, tl.load(unscale))
