/* The layers of one tile of SAMPLES samples, forward and backward. Included by variant.h, once per instruction set and
 * storage, with SAMPLES, MASK (an integer of as many bits), VALUE, ROWS(x), LOAD_ROW, STORE_ROW and VALUE_OF_BIT defined.
 *
 * Rows are SAMPLES values, one per sample, and aligned to 64 bytes; a neuron reads two rows of the layer before:
 *
 *     y = (c0 + c1 a) + b (c2 + c3 a)
 */

INLINE void ROWS(rows_forward)(const VALUE *in, VALUE *out, int64_t n, const int32_t *a, const int32_t *b,
                               const float *c, int far)
{
    for (int64_t i = 0; i < n; i++, c += 4, out += SAMPLES) {
        if (far) {
            __builtin_prefetch(in + (int64_t)a[i + AHEAD] * SAMPLES);
            __builtin_prefetch(in + (int64_t)b[i + AHEAD] * SAMPLES);
        }
        const VALUE *pa = in + (int64_t)a[i] * SAMPLES, *pb = in + (int64_t)b[i] * SAMPLES;
        for (int r = 0; r < SAMPLES; r += LANES) {
            FV u = LOAD_ROW(pa + r), v = LOAD_ROW(pb + r);
            STORE_ROW(out + r, (c[0] + c[1] * u) + v * (c[2] + c[3] * u));
        }
    }
}

/* `far`: the rows are many enough not to be in the cache when their turn comes. */
static void ROWS(layer_forward)(const void *in, void *out, int64_t n, const int32_t *a, const int32_t *b,
                                const float *c, int far)
{
    if (far)
        ROWS(rows_forward)(in, out, n, a, b, c, 1);
    else
        ROWS(rows_forward)(in, out, n, a, b, c, 0);
}

/* The last layer is only ever summed, so its rows are never stored. */
static void ROWS(group_sums)(const void *rows, float *sums, int64_t n, const int32_t *a, const int32_t *b,
                             const float *c, int64_t classes)
{
    const VALUE *in = rows;
    int64_t size = n / classes;
    for (int64_t k = 0; k < classes; k++) {
        FV total[SAMPLES / LANES] = {{0}};
        for (int64_t i = k * size; i < (k + 1) * size; i++, c += 4) {
            const VALUE *pa = in + (int64_t)a[i] * SAMPLES, *pb = in + (int64_t)b[i] * SAMPLES;
            for (int r = 0; r < SAMPLES / LANES; r++) {
                FV u = LOAD_ROW(pa + r * LANES), v = LOAD_ROW(pb + r * LANES);
                total[r] += (c[0] + c[1] * u) + v * (c[2] + c[3] * u);
            }
        }
        for (int r = 0; r < SAMPLES / LANES; r++)
            STORE(sums + k * SAMPLES + r * LANES, total[r]);
    }
}

/* Gradients of n neurons. `g`: their gradient rows; or `z`: one row of floats for all of them. `gin`: rows that collect
 * the gradients of the inputs, `factor` times as large, or 0. `gc`: gradients of the coefficients, added to unless
 * `fresh`.
 * An index with its sign bit set is the first in the layer to reach its row of `gin`: it sets what the others add to. */
INLINE void ROWS(layer_backward)(const VALUE *in, const VALUE *g, const float *z, VALUE *gin, int64_t n,
                                 const int32_t *a, const int32_t *b, const float *c, float factor, float *gc, int fresh)
{
    const float f = sizeof *gin < sizeof(float) ? factor : 1; /* floats have exponents enough */
    for (int64_t i = 0; i < n; i++, c += 4, gc += 4) {
        if (gin) {
            int64_t next_a = (int64_t)(a[i + AHEAD] & INT32_MAX) * SAMPLES;
            int64_t next_b = (int64_t)(b[i + AHEAD] & INT32_MAX) * SAMPLES;
            __builtin_prefetch(in + next_a);
            __builtin_prefetch(in + next_b);
            __builtin_prefetch(gin + next_a, 1);
            __builtin_prefetch(gin + next_b, 1);
        }
        int64_t ra = (int64_t)(a[i] & INT32_MAX) * SAMPLES, rb = (int64_t)(b[i] & INT32_MAX) * SAMPLES;
        IV keep_a = (IV){0} + ~(a[i] >> 31), keep_b = (IV){0} + ~(b[i] >> 31);
        FV s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        const float c1 = c[1] * f, c2 = c[2] * f, c3 = c[3] * f;
        for (int r = 0; r < SAMPLES; r += LANES) {
            FV u = LOAD_ROW(in + ra + r), v = LOAD_ROW(in + rb + r);
            FV w = z ? LOAD(z + r) : LOAD_ROW(g + i * SAMPLES + r), wu = w * u;
            s0 += w;
            s1 += wu;
            s2 += w * v;
            s3 += wu * v;
            if (gin) {
                /* one after the other: a and b may be the same row */
                STORE_ROW(gin + ra + r, (FV)((IV)LOAD_ROW(gin + ra + r) & keep_a) + w * (c1 + c3 * v));
                STORE_ROW(gin + rb + r, (FV)((IV)LOAD_ROW(gin + rb + r) & keep_b) + (w * c2 + wu * c3));
            }
        }
        four s = NAME(sums)(s0, s1, s2, s3);
        if (!fresh)
            s += *(loose_four *)gc;
        *(loose_four *)gc = s;
    }
}

static void ROWS(backward_rows)(const void *in, const void *g, void *gin, int64_t n, const int32_t *a,
                                const int32_t *b, const float *c, float factor, float *gc, int fresh)
{
    if (gin)
        ROWS(layer_backward)(in, g, 0, gin, n, a, b, c, factor, gc, fresh);
    else
        ROWS(layer_backward)(in, g, 0, 0, n, a, b, c, 1, gc, fresh);
}

static void ROWS(backward_groups)(const void *in, const float *z, void *gin, int64_t n, const int32_t *a,
                                  const int32_t *b, const float *c, float factor, float *gc, int fresh, int64_t classes)
{
    int64_t size = n / classes;
    for (int64_t k = 0; k < classes; k++, a += size, b += size, c += 4 * size, gc += 4 * size, z += SAMPLES) {
        if (gin)
            ROWS(layer_backward)(in, 0, z, gin, size, a, b, c, factor, gc, fresh);
        else
            ROWS(layer_backward)(in, 0, z, 0, size, a, b, c, 1, gc, fresh);
    }
}

/* Bit j of masks[d]: whether feature d of sample j is not 0. Returns whether all values are 0 or 1. */
static int ROWS(masks_of_floats)(const float *x, int64_t features, int samples, void *to)
{
    int odd = 0;
    MASK *masks = to;
    memset(masks, 0, (size_t)features * sizeof *masks);
    for (int j = 0; j < samples; j++, x += features)
        for (int64_t d = 0; d < features; d++) {
            int on = x[d] != 0.0f;
            masks[d] |= (MASK)((MASK)on << j);
            odd |= on & (x[d] != 1.0f);
        }
    return !odd;
}

static void ROWS(masks_of_bytes)(const uint8_t *x, int64_t features, int samples, void *to)
{
    MASK *masks = to;
    memset(masks, 0, (size_t)features * sizeof *masks);
    for (int j = 0; j < samples; j++, x += features)
        for (int64_t d = 0; d < features; d++)
            masks[d] |= (MASK)((MASK)(x[d] != 0) << j);
}

static void ROWS(masks_of_bits)(const uint8_t *x, int64_t features, int samples, void *to)
{
    MASK *masks = to;
    int64_t stride = (features + 7) / 8;
    for (int64_t q = 0; q < stride; q++) {
        MASK columns[8] = {0};
        for (int j = 0; j < samples; j++)
            for (int k = 0; k < 8; k++)
                columns[k] |= (MASK)((MASK)(x[j * stride + q] >> k & 1) << j);
        int64_t left = features - 8 * q;
        memcpy(masks + 8 * q, columns, (size_t)(left < 8 ? left : 8) * sizeof *masks);
    }
}

/* Rows of 0 and 1 from masks. */
static void ROWS(rows_of_masks)(const void *from, int64_t features, void *to)
{
    const MASK *masks = from;
    VALUE *rows = to;
    for (int64_t d = 0; d < features; d++)
        for (int j = 0; j < SAMPLES; j++)
            rows[d * SAMPLES + j] = VALUE_OF_BIT(masks[d] >> j & 1);
}

/* Samples that are not there are 0. */
static void ROWS(rows_of_floats)(const float *x, int64_t features, int samples, void *to)
{
    VALUE *rows = to;
    float row[SAMPLES] __attribute__((aligned(64))) = {0};
    for (int64_t d = 0; d < features; d++) {
        for (int j = 0; j < samples; j++)
            row[j] = x[j * features + d];
        for (int r = 0; r < SAMPLES; r += LANES)
            STORE_ROW(rows + d * SAMPLES + r, LOAD(row + r));
    }
}

static void ROWS(floats_of_rows)(const void *from, int64_t features, int samples, float factor, float *x)
{
    const VALUE *rows = from;
    float row[SAMPLES] __attribute__((aligned(64)));
    for (int64_t d = 0; d < features; d++) {
        for (int r = 0; r < SAMPLES; r += LANES)
            STORE(row + r, LOAD_ROW(rows + d * SAMPLES + r) * factor);
        for (int j = 0; j < samples; j++)
            x[j * features + d] = row[j];
    }
}

#if LANES == 16
/* layer_forward on inputs of 0 and 1 given as masks: the same sums, 32 times fewer bytes to read. */
static void ROWS(first_forward)(const void *masks, void *rows, int64_t n, const int32_t *a, const int32_t *b,
                                const float *c)
{
    const MASK *in = masks;
    VALUE *out = rows;
    for (int64_t i = 0; i < n; i++, c += 4, out += SAMPLES)
        for (int r = 0; r < SAMPLES; r += LANES) {
            __mmask16 u = (__mmask16)(in[a[i]] >> r), v = (__mmask16)(in[b[i]] >> r);
            __m512 p = _mm512_set1_ps(c[0]), q = _mm512_set1_ps(c[2]);
            p = _mm512_mask_add_ps(p, u, p, _mm512_set1_ps(c[1]));
            q = _mm512_mask_add_ps(q, u, q, _mm512_set1_ps(c[3]));
            STORE_ROW(out + r, (FV)_mm512_mask_add_ps(p, v, p, q));
        }
}

/* layer_backward on such inputs, which want no gradient. */
static void ROWS(first_backward)(const void *masks, const void *rows, int64_t n, const int32_t *a, const int32_t *b,
                                 float *gc, int fresh)
{
    const MASK *in = masks;
    const VALUE *g = rows;
    for (int64_t i = 0; i < n; i++, gc += 4, g += SAMPLES) {
        FV s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        for (int r = 0; r < SAMPLES; r += LANES) {
            __mmask16 u = (__mmask16)(in[a[i] & INT32_MAX] >> r), v = (__mmask16)(in[b[i] & INT32_MAX] >> r);
            __m512 w = (__m512)LOAD_ROW(g + r), wu = _mm512_maskz_mov_ps(u, w);
            s0 += (FV)w;
            s1 += (FV)wu;
            s2 += (FV)_mm512_maskz_mov_ps(v, w);
            s3 += (FV)_mm512_maskz_mov_ps(v, wu);
        }
        four s = NAME(sums)(s0, s1, s2, s3);
        if (!fresh)
            s += *(loose_four *)gc;
        *(loose_four *)gc = s;
    }
}
#endif

static const struct variant ROWS(variant) = {
    SAMPLES, ROWS(layer_forward), ROWS(group_sums), ROWS(backward_rows), ROWS(backward_groups), ROWS(masks_of_floats),
    ROWS(masks_of_bytes), ROWS(masks_of_bits), ROWS(rows_of_masks), ROWS(rows_of_floats), ROWS(floats_of_rows),
    NAME(mix), NAME(mix_backward),
#if LANES == 16
    ROWS(first_forward), ROWS(first_backward),
#else
    0, 0,
#endif
};

#undef SAMPLES
#undef MASK
#undef VALUE
#undef ROWS
#undef LOAD_ROW
#undef STORE_ROW
#undef VALUE_OF_BIT
