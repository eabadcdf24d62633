/* Trees of logic neurons over a tile of TILE samples, forward and backward. Included once per instruction set by conv.c.
 *
 * A row is TILE floats, one per sample. A tree is evaluated for SPAN outputs at a time; an output that is pooled has
 * four cells, each with a value of the tree, and is the largest of them. A slot holds a row for each output and cell.
 * Neuron n of a tree reads slots 2n and 2n + 1 and writes slot leaves + n: first come the leaves, the last is the root.
 */

#include "vectors.h"

typedef uint8_t NAME(octets) __attribute__((vector_size(LANES), aligned(1), may_alias));

/* Which lanes come from one cell. */
#if LANES == 16
typedef __mmask16 NAME(lanes);
#define CHOSEN(winners, cell) \
    _mm512_cmpeq_epi32_mask(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(winners))), _mm512_set1_epi32(cell))
#define MERGE(v, lanes, p) ((FV)_mm512_mask_load_ps((__m512)(v), lanes, p))
#define ADD_CHOSEN(v, lanes, w) ((FV)_mm512_mask_add_ps((__m512)(v), lanes, (__m512)(v), (__m512)(w)))
#else
typedef IV NAME(lanes);
#define CHOSEN(winners, cell) (__builtin_convertvector(*(const NAME(octets) *)(winners), IV) == (cell))
#if LANES == 8
#define MERGE(v, lanes, p) ((FV)_mm256_blendv_ps((__m256)(v), (__m256)LOAD(p), (__m256)(lanes)))
#else
#define MERGE(v, lanes, p) PICK(lanes, LOAD(p), v)
#endif
#define ADD_CHOSEN(v, lanes, w) ((v) + (FV)((lanes) & (IV)(w)))
#endif

/* A neuron's coefficients, one in all lanes: loads that the compiler cannot move out of a loop which stores. */
typedef struct {
    FV c0, c1, c2, c3;
} NAME(mixed);

INLINE NAME(mixed) NAME(spread)(const float *c)
{
    const FV zero = {0};
    return (NAME(mixed)){zero + c[0], zero + c[1], zero + c[2], zero + c[3]};
}

INLINE FV NAME(neuron)(NAME(mixed) m, FV u, FV v)
{
    return (m.c0 + m.c1 * u) + v * (m.c2 + m.c3 * u);
}

/* The neuron of two leaves. Leaves point to the tap of output 0, `places` leads to the others. */
static void NAME(two_leaves)(const float *const *leaf, const int32_t *places, int outputs, const float *c, float *slot)
{
    const float *u = leaf[0], *v = leaf[1];
    const NAME(mixed) m = NAME(spread)(c);
    for (int s = 0; s < outputs; s++, slot += TILE)
        for (int r = 0; r < TILE; r += LANES)
            STORE(slot + r, NAME(neuron)(m, LOAD(u + places[s] + r), LOAD(v + places[s] + r)));
}

/* The neuron, with coefficients `up`, of the neurons of four leaves. */
static void NAME(four_leaves)(const float *const *leaf, const int32_t *places, int outputs, const float *c,
                              const float *up, float *slot)
{
    const float *p0 = leaf[0], *p1 = leaf[1], *p2 = leaf[2], *p3 = leaf[3];
    const NAME(mixed) m0 = NAME(spread)(c), m1 = NAME(spread)(c + 4), m2 = NAME(spread)(up);
    for (int s = 0; s < outputs; s++, slot += TILE)
        for (int r = 0; r < TILE; r += LANES) {
            int64_t at = places[s] + r;
            FV u = NAME(neuron)(m0, LOAD(p0 + at), LOAD(p1 + at)), v = NAME(neuron)(m1, LOAD(p2 + at), LOAD(p3 + at));
            STORE(slot + r, NAME(neuron)(m2, u, v));
        }
}

static void NAME(inner_neuron)(const float *u, const float *v, int64_t floats, const float *c, float *slot)
{
    const NAME(mixed) m = NAME(spread)(c);
    for (int64_t i = 0; i < floats; i += LANES)
        STORE(slot + i, NAME(neuron)(m, LOAD(u + i), LOAD(v + i)));
}

/* The largest cell, the first of them where equal, as max_pool2d of torch has it. */
INLINE void NAME(largest)(const float *root, int64_t step, int outputs, float *out, const int32_t *places,
                          uint8_t *winners)
{
    for (int s = 0; s < outputs; s++)
        for (int r = 0; r < TILE; r += LANES) {
            const float *cell = root + s * TILE + r;
            FV best = LOAD(cell);
            IV which = {0};
            for (int k = 1; k < CELLS; k++) {
                FV v = LOAD(cell + k * step);
                IV above = (v > best) | (v != v); /* what is not a number stays to be seen */
                best = (FV)((above & (IV)v) | (~above & (IV)best));
                which = (above & k) | (~above & which);
            }
            STORE(out + places[s] + r, best);
            if (winners)
                *(NAME(octets) *)(winners + s * TILE + r) = __builtin_convertvector(which, NAME(octets));
        }
}

/* The two lowest levels of a tree for one cell, or the only one. */
INLINE void NAME(bottom)(const struct trees *t, const float *in, const int32_t *taps, const int32_t *places,
                         int outputs, const float *c, float *slots, int64_t slot)
{
    const float *leaf[MAX_LEAVES];
    for (int n = 0; n < t->leaves; n++)
        leaf[n] = in + taps[n];
    if (t->leaves == 2)
        NAME(two_leaves)(leaf, places, outputs, c, slots);
    for (int n = 0; n < t->leaves / 4; n++)
        NAME(four_leaves)(leaf + 4 * n, places, outputs, c + 8 * n, c + 4 * (t->leaves / 2 + n), slots + n * slot);
}

/* All trees of a layer for a tile, place by place: what they read there stays in the cache. `slots`: scratch. */
static void NAME(layer_forward)(const struct trees *t, const float *in, const float *coefficients, float *out,
                                uint8_t *winners, float *slots)
{
    for (int64_t start = 0; start < t->outputs; start += SPAN) {
        int outputs = t->outputs - start < SPAN ? (int)(t->outputs - start) : SPAN;
        int64_t cell = (int64_t)outputs * TILE, slot = cell * t->cells;
        const float *c = coefficients;
        for (int64_t tree = 0; tree < t->channels; tree++, c += 4 * (t->leaves - 1)) {
            const int32_t *taps = t->taps + tree * t->leaves;
            float *plane = out + tree * t->out_plane;
            for (int k = 0; k < t->cells; k++)
                NAME(bottom)(t, in + t->cell_places[k], taps, t->places + start, outputs, c, slots + k * cell, slot);
            /* a neuron goes where its inputs, which nobody else reads, have been */
            for (int width = (int)t->leaves / 8, first = (int)t->leaves - 2 * width; width; first += width, width /= 2)
                for (int i = 0; i < width; i++)
                    NAME(inner_neuron)(slots + 2 * i * slot, slots + (2 * i + 1) * slot, slot, c + 4 * (first + i),
                                       slots + i * slot);
            if (t->cells == CELLS)
                NAME(largest)(slots, cell, outputs, plane, t->out_places + start,
                              winners ? winners + (tree * t->outputs + start) * TILE : 0);
            else
                for (int s = 0; s < outputs; s++)
                    memcpy(plane + t->out_places[start + s], slots + s * TILE, TILE * sizeof(float));
        }
    }
}

/* Leaves of the cells that won. `below`: from a cell to the one below it. */
static void NAME(gather)(const float *in, const int32_t *taps, int leaves, const int32_t *places, int outputs,
                         int64_t below, const uint8_t *winners, float *slots, int64_t slot)
{
    for (int s = 0; s < outputs; s++)
        for (int r = 0; r < TILE; r += LANES) {
            const float *at = in + places[s] + r;
            float *out = slots + s * TILE + r;
            NAME(lanes) right = CHOSEN(winners + s * TILE + r, 1), low = CHOSEN(winners + s * TILE + r, 2);
            NAME(lanes) low_right = CHOSEN(winners + s * TILE + r, 3);
            for (int n = 0; n < leaves; n++, out += slot) {
                const float *p = at + taps[n];
                FV v = MERGE(LOAD(p), right, p + TILE);
                v = MERGE(v, low, p + below);
                STORE(out, MERGE(v, low_right, p + below + TILE));
            }
        }
}

static void NAME(gather_plain)(const float *in, const int32_t *taps, int leaves, const int32_t *places, int outputs,
                               float *slots)
{
    for (int n = 0; n < leaves; n++)
        for (int s = 0; s < outputs; s++, slots += TILE)
            memcpy(slots, in + taps[n] + places[s], TILE * sizeof(float));
}

/* Gradients of leaves to the cells that won. */
static void NAME(scatter)(float *gin, const int32_t *taps, int leaves, const int32_t *places, int outputs,
                          int64_t below, const uint8_t *winners, const float *slots, int64_t slot)
{
    for (int s = 0; s < outputs; s++)
        for (int r = 0; r < TILE; r += LANES) {
            float *at = gin + places[s] + r;
            const float *g = slots + s * TILE + r;
            NAME(lanes) first = CHOSEN(winners + s * TILE + r, 0), right = CHOSEN(winners + s * TILE + r, 1);
            NAME(lanes) low = CHOSEN(winners + s * TILE + r, 2), low_right = CHOSEN(winners + s * TILE + r, 3);
            for (int n = 0; n < leaves; n++, g += slot) {
                float *p = at + taps[n];
                FV w = LOAD(g);
                STORE(p, ADD_CHOSEN(LOAD(p), first, w));
                STORE(p + TILE, ADD_CHOSEN(LOAD(p + TILE), right, w));
                STORE(p + below, ADD_CHOSEN(LOAD(p + below), low, w));
                STORE(p + below + TILE, ADD_CHOSEN(LOAD(p + below + TILE), low_right, w));
            }
        }
}

static void NAME(scatter_plain)(float *gin, const int32_t *taps, int leaves, const int32_t *places, int outputs,
                                const float *slots)
{
    for (int n = 0; n < leaves; n++)
        for (int s = 0; s < outputs; s++, slots += TILE)
            for (int r = 0; r < TILE; r += LANES) {
                float *p = gin + taps[n] + places[s] + r;
                STORE(p, LOAD(p) + LOAD(slots + r));
            }
}

/* Gradients of one neuron; where wanted, its inputs are replaced with their gradients. */
INLINE void NAME(neuron_backward)(float *u, float *v, const float *g, int64_t floats, const float *c, float *gc,
                                  int down)
{
    FV s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    const NAME(mixed) m = NAME(spread)(c);
    for (int64_t i = 0; i < floats; i += LANES) {
        FV a = LOAD(u + i), b = LOAD(v + i), w = LOAD(g + i), wa = w * a;
        s0 += w;
        s1 += wa;
        s2 += w * b;
        s3 += wa * b;
        if (down) {
            STORE(u + i, w * (m.c1 + m.c3 * b));
            STORE(v + i, w * m.c2 + wa * m.c3);
        }
    }
    *(loose_four *)gc += NAME(sums)(s0, s1, s2, s3);
}

/* One tree for up to SPAN outputs. `gc`: four numbers a neuron, added to. */
static void NAME(tree_backward)(const struct trees *t, const float *in, const int32_t *taps, const int32_t *places,
                                int outputs, const float *c, const uint8_t *winners, const float *g,
                                const int32_t *out_places, float *gin, float *gc, float *slots)
{
    int leaves = (int)t->leaves, neurons = leaves - 1;
    int64_t slot = (int64_t)outputs * TILE, below = t->cell_places[2];
    if (t->cells == CELLS)
        NAME(gather)(in, taps, leaves, places, outputs, below, winners, slots, slot);
    else
        NAME(gather_plain)(in, taps, leaves, places, outputs, slots);
    for (int n = 0; n + 1 < neurons; n++)
        NAME(inner_neuron)(slots + 2 * n * slot, slots + (2 * n + 1) * slot, slot, c + 4 * n,
                           slots + (leaves + n) * slot);
    float *root = slots + (leaves + neurons - 1) * slot;
    for (int s = 0; s < outputs; s++)
        memcpy(root + s * TILE, g + out_places[s], TILE * sizeof(float));
    for (int n = neurons - 1; n >= 0; n--) {
        float *u = slots + 2 * n * slot, *v = u + slot, *w = slots + (leaves + n) * slot;
        if (gin || n >= leaves / 2)
            NAME(neuron_backward)(u, v, w, slot, c + 4 * n, gc + 4 * n, 1);
        else
            NAME(neuron_backward)(u, v, w, slot, c + 4 * n, gc + 4 * n, 0);
    }
    if (gin && t->cells == CELLS)
        NAME(scatter)(gin, taps, leaves, places, outputs, below, winners, slots, slot);
    else if (gin)
        NAME(scatter_plain)(gin, taps, leaves, places, outputs, slots);
}

/* `g`: gradients in the places of the outputs; `gin`: rows that collect those of the inputs, or 0. */
static void NAME(layer_backward)(const struct trees *t, const float *in, const float *c, const float *g,
                                 const uint8_t *winners, float *gin, float *gc, float *slots)
{
    for (int64_t start = 0; start < t->outputs; start += SPAN) {
        int outputs = t->outputs - start < SPAN ? (int)(t->outputs - start) : SPAN;
        for (int64_t tree = 0; tree < t->channels; tree++) {
            int64_t first = 4 * tree * (t->leaves - 1);
            NAME(tree_backward)(t, in, t->taps + tree * t->leaves, t->places + start, outputs, c + first,
                                winners + (tree * t->outputs + start) * TILE, g + tree * t->out_plane,
                                t->out_places + start, gin, gc + first, slots);
        }
    }
}

/* Rows of 0 and 1 from up to BYTES_AT_ONCE bytes of each sample, `step` apart. */
static void NAME(rows_of_bytes)(const uint8_t *x, int64_t step, int samples, int count, float *rows)
{
    uint16_t masks[BYTES_AT_ONCE] = {0};
    for (int j = 0; j < samples; j++, x += step)
        for (int d = 0; d < count; d++)
            masks[d] |= (uint16_t)((x[d] != 0) << j);
    for (int d = 0; d < count; d++)
        for (int j = 0; j < TILE; j++)
            rows[d * TILE + j] = (float)(masks[d] >> j & 1);
}

static const struct tree_variant NAME(tree_variant) = {NAME(layer_forward), NAME(layer_backward), NAME(rows_of_bytes)};

#undef CHOSEN
#undef MERGE
#undef ADD_CHOSEN
#include "vectors_end.h"
