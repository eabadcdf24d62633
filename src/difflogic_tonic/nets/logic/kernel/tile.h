/* One tile of TILE samples through a whole logic network, forward and backward, for one width of vector.
 *
 * Included once per instruction set, with LANES (floats per vector) and NAME(x) defined. Rows are TILE floats, one per
 * sample, and aligned to 64 bytes; a neuron reads two rows of the layer before:
 *
 *     y = (c0 + c1 a) + b (c2 + c3 a)
 */

#define FV NAME(floats)
#define IV NAME(ints)
#define BYTES (LANES * 4)
typedef float FV __attribute__((vector_size(BYTES), may_alias));
typedef int32_t IV __attribute__((vector_size(BYTES), may_alias));
typedef float NAME(loose) __attribute__((vector_size(BYTES), aligned(4), may_alias));
#define LOAD(p) (*(const FV *)(p))
#define STORE(p, v) (*(FV *)(p) = (v))
#define LOAD_LOOSE(p) (*(const NAME(loose) *)(p))
#define STORE_LOOSE(p, v) (*(NAME(loose) *)(p) = (v))
#define INLINE static inline __attribute__((always_inline))

#if LANES == 16
#define UNPACK_LOW {0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29}
#define UNPACK_HIGH {2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31}
#define PAIRS_LOW {0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29}
#define PAIRS_HIGH {2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31}
#define LEAST(bound, x) ((FV)_mm512_min_ps((__m512)(bound), (__m512)(x))) /* the second where either is NaN */
#define MOST(x, bound) ((FV)_mm512_max_ps((__m512)(bound), (__m512)(x)))
#elif LANES == 8
#define UNPACK_LOW {0, 8, 1, 9, 4, 12, 5, 13}
#define UNPACK_HIGH {2, 10, 3, 11, 6, 14, 7, 15}
#define PAIRS_LOW {0, 1, 8, 9, 4, 5, 12, 13}
#define PAIRS_HIGH {2, 3, 10, 11, 6, 7, 14, 15}
#define LEAST(bound, x) ((FV)_mm256_min_ps((__m256)(bound), (__m256)(x)))
#define MOST(x, bound) ((FV)_mm256_max_ps((__m256)(bound), (__m256)(x)))
#else
#define UNPACK_LOW {0, 4, 1, 5}
#define UNPACK_HIGH {2, 6, 3, 7}
#define PAIRS_LOW {0, 1, 4, 5}
#define PAIRS_HIGH {2, 3, 6, 7}
#define PICK(mask, x, y) ((FV)(((mask) & (IV)(x)) | (~(mask) & (IV)(y))))
#define LEAST(bound, x) PICK((bound) < (x), bound, x)
#define MOST(x, bound) PICK((bound) > (x), bound, x)
#endif

/* The sums over the lanes of four vectors, as one vector of four. */
INLINE four NAME(sums)(FV s0, FV s1, FV s2, FV s3)
{
    const IV low = UNPACK_LOW, high = UNPACK_HIGH, first = PAIRS_LOW, second = PAIRS_HIGH;
    FV t0 = __builtin_shuffle(s0, s1, low) + __builtin_shuffle(s0, s1, high);
    FV t1 = __builtin_shuffle(s2, s3, low) + __builtin_shuffle(s2, s3, high);
    FV t = __builtin_shuffle(t0, t1, first) + __builtin_shuffle(t0, t1, second);
#if LANES == 16
    __m512 w = (__m512)t;
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(w), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(w), 1)));
    return (four)_mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
#elif LANES == 8
    return (four)_mm_add_ps(_mm256_castps256_ps128((__m256)t), _mm256_extractf128_ps((__m256)t, 1));
#else
    return (four)t;
#endif
}

/* The blocks of four lanes of a vector. */
INLINE void NAME(blocks)(FV v, four *blocks)
{
#if LANES == 16
    blocks[0] = (four)_mm512_castps512_ps128((__m512)v);
    blocks[1] = (four)_mm512_extractf32x4_ps((__m512)v, 1);
    blocks[2] = (four)_mm512_extractf32x4_ps((__m512)v, 2);
    blocks[3] = (four)_mm512_extractf32x4_ps((__m512)v, 3);
#elif LANES == 8
    blocks[0] = (four)_mm256_castps256_ps128((__m256)v);
    blocks[1] = (four)_mm256_extractf128_ps((__m256)v, 1);
#else
    blocks[0] = (four)v;
#endif
}

INLINE void NAME(rows_forward)(const float *in, float *out, int64_t n, const int32_t *a, const int32_t *b,
                               const float *c, int far)
{
    for (int64_t i = 0; i < n; i++, c += 4, out += TILE) {
        if (far) {
            __builtin_prefetch(in + (int64_t)a[i + AHEAD] * TILE);
            __builtin_prefetch(in + (int64_t)b[i + AHEAD] * TILE);
        }
        const float *pa = in + (int64_t)a[i] * TILE, *pb = in + (int64_t)b[i] * TILE;
        for (int r = 0; r < TILE; r += LANES) {
            FV u = LOAD(pa + r), v = LOAD(pb + r);
            STORE(out + r, (c[0] + c[1] * u) + v * (c[2] + c[3] * u));
        }
    }
}

/* `far`: the rows are many enough not to be in the cache when their turn comes. */
static void NAME(layer_forward)(const float *in, float *out, int64_t n, const int32_t *a, const int32_t *b,
                                const float *c, int far)
{
    if (far)
        NAME(rows_forward)(in, out, n, a, b, c, 1);
    else
        NAME(rows_forward)(in, out, n, a, b, c, 0);
}

/* The last layer is only ever summed, so its rows are never stored. */
static void NAME(group_sums)(const float *in, float *sums, int64_t n, const int32_t *a, const int32_t *b, const float *c,
                             int64_t classes)
{
    int64_t size = n / classes;
    for (int64_t k = 0; k < classes; k++) {
        FV total[TILE / LANES] = {{0}};
        for (int64_t i = k * size; i < (k + 1) * size; i++, c += 4) {
            const float *pa = in + (int64_t)a[i] * TILE, *pb = in + (int64_t)b[i] * TILE;
            for (int r = 0; r < TILE / LANES; r++) {
                FV u = LOAD(pa + r * LANES), v = LOAD(pb + r * LANES);
                total[r] += (c[0] + c[1] * u) + v * (c[2] + c[3] * u);
            }
        }
        for (int r = 0; r < TILE / LANES; r++)
            STORE(sums + k * TILE + r * LANES, total[r]);
    }
}

/* Gradients of n neurons. `g`: their gradient rows, `step` floats apart (0: one row for all). `gin`: rows that collect
 * the gradients of the inputs, or 0. `gc`: gradients of the coefficients, added to unless `fresh`.
 * An index with its sign bit set is the first in the layer to reach its row of `gin`: it sets what the others add to. */
INLINE void NAME(layer_backward)(const float *in, const float *g, int64_t step, float *gin, int64_t n, const int32_t *a,
                                 const int32_t *b, const float *c, float *gc, int fresh)
{
    for (int64_t i = 0; i < n; i++, c += 4, gc += 4, g += step) {
        if (gin) {
            int64_t next_a = (int64_t)(a[i + AHEAD] & INT32_MAX) * TILE;
            int64_t next_b = (int64_t)(b[i + AHEAD] & INT32_MAX) * TILE;
            __builtin_prefetch(in + next_a);
            __builtin_prefetch(in + next_b);
            __builtin_prefetch(gin + next_a, 1);
            __builtin_prefetch(gin + next_b, 1);
        }
        int64_t ra = (int64_t)(a[i] & INT32_MAX) * TILE, rb = (int64_t)(b[i] & INT32_MAX) * TILE;
        IV keep_a = (IV){0} + ~(a[i] >> 31), keep_b = (IV){0} + ~(b[i] >> 31);
        FV s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        for (int r = 0; r < TILE; r += LANES) {
            FV u = LOAD(in + ra + r), v = LOAD(in + rb + r), w = LOAD(g + r), wu = w * u;
            s0 += w;
            s1 += wu;
            s2 += w * v;
            s3 += wu * v;
            if (gin) {
                /* one after the other: a and b may be the same row */
                STORE(gin + ra + r, (FV)((IV)LOAD(gin + ra + r) & keep_a) + w * (c[1] + c[3] * v));
                STORE(gin + rb + r, (FV)((IV)LOAD(gin + rb + r) & keep_b) + (w * c[2] + wu * c[3]));
            }
        }
        four s = NAME(sums)(s0, s1, s2, s3);
        if (!fresh)
            s += *(loose_four *)gc;
        *(loose_four *)gc = s;
    }
}

static void NAME(backward_rows)(const float *in, const float *g, float *gin, int64_t n, const int32_t *a,
                                const int32_t *b, const float *c, float *gc, int fresh)
{
    if (gin)
        NAME(layer_backward)(in, g, TILE, gin, n, a, b, c, gc, fresh);
    else
        NAME(layer_backward)(in, g, TILE, 0, n, a, b, c, gc, fresh);
}

static void NAME(backward_groups)(const float *in, const float *z, float *gin, int64_t n, const int32_t *a,
                                  const int32_t *b, const float *c, float *gc, int fresh, int64_t classes)
{
    int64_t size = n / classes;
    for (int64_t k = 0; k < classes; k++, a += size, b += size, c += 4 * size, gc += 4 * size, z += TILE) {
        if (gin)
            NAME(layer_backward)(in, z, 0, gin, size, a, b, c, gc, fresh);
        else
            NAME(layer_backward)(in, z, 0, 0, size, a, b, c, gc, fresh);
    }
}

/* e^x for |x| <= 87, relative error below 2e-7; beyond, e^87 or e^-87. NaN stays NaN. */
INLINE FV NAME(exponential)(FV x)
{
    x = MOST(LEAST((FV){0} + 87.0f, x), (FV){0} - 87.0f);
    FV shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the rounded integer is in the low bits */
    FV whole = shifted - 12582912.0f;
    FV r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f; /* log 2 in two parts */
    FV p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + (r + 1.0f);
    return (FV)((IV)p + ((IV)shifted << 23));
}

/* Four neurons: sums over the gates with weights e^((logit - shift) / T), one lane per neuron. `corners`: over the gates
 * that are on at 00, 01, 10, 11. Gate g = 4 q + m is on there by its bits 3 (q & 2), 2 (q & 1), 1 (m & 2), 0 (m & 1). */
INLINE four NAME(weigh)(const float *logits, const float *shift, float inverse_temperature, four *corners)
{
    const IV low = UNPACK_LOW, high = UNPACK_HIGH, first = PAIRS_LOW, second = PAIRS_HIGH;
    four by_q[4], f10 = {0}, f11 = {0};
    for (int r = 0; r < 16; r += LANES) {
        FV e[4];
        for (int k = 0; k < 4; k++)
            e[k] = NAME(exponential)((LOAD_LOOSE(logits + 16 * k + r) - shift[k]) * inverse_temperature);
        /* blocks of four by four transposed: lane k of block q of m[i] is gate 4 q + i of neuron k */
        FV t0 = __builtin_shuffle(e[0], e[1], low), t1 = __builtin_shuffle(e[2], e[3], low);
        FV t2 = __builtin_shuffle(e[0], e[1], high), t3 = __builtin_shuffle(e[2], e[3], high);
        FV m0 = __builtin_shuffle(t0, t1, first), m1 = __builtin_shuffle(t0, t1, second);
        FV m2 = __builtin_shuffle(t2, t3, first), m3 = __builtin_shuffle(t2, t3, second);
        four parts[LANES / 4];
        NAME(blocks)(m1 + m3, parts);
        for (int q = 0; q < LANES / 4; q++)
            f11 += parts[q];
        NAME(blocks)(m2 + m3, parts);
        for (int q = 0; q < LANES / 4; q++)
            f10 += parts[q];
        NAME(blocks)((m0 + m1) + (m2 + m3), by_q + r / 4);
    }
    corners[0] = by_q[2] + by_q[3];
    corners[1] = by_q[1] + by_q[3];
    corners[2] = f10;
    corners[3] = f11;
    return (by_q[0] + by_q[1]) + corners[0];
}

INLINE void NAME(mix_four)(const float *logits, float inverse_temperature, float *c, float *norms)
{
    float shift[4] = {0};
    four f[4], total = NAME(weigh)(logits, shift, inverse_temperature, f);
    four_ints fine = (total > 1e-20f) & (total < 1e34f);
    if (!(fine[0] & fine[1] & fine[2] & fine[3])) { /* logits that large need their largest subtracted */
        for (int k = 0; k < 4; k++) {
            shift[k] = logits[16 * k];
            for (int g = 1; g < 16; g++)
                shift[k] = logits[16 * k + g] > shift[k] ? logits[16 * k + g] : shift[k];
        }
        total = NAME(weigh)(logits, shift, inverse_temperature, f);
    }
    four inverse = 1.0f / total;
    for (int k = 0; k < 4; k++)
        f[k] *= inverse;
    four c1 = f[2] - f[0], c2 = f[1] - f[0], c3 = (f[3] - f[2]) - c2;
    for (int k = 0; k < 4; k++) {
        *(loose_four *)(c + 4 * k) = (four){f[0][k], c1[k], c2[k], c3[k]};
        norms[2 * k] = shift[k];
        norms[2 * k + 1] = inverse[k];
    }
}

/* 16 logits per neuron to 4 coefficients of the softmax-weighted gate; `norms`: what was subtracted, 1 / sum. */
static void NAME(mix)(const float *logits, float inverse_temperature, int64_t n, float *c, float *norms)
{
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        NAME(mix_four)(logits + 16 * i, inverse_temperature, c + 4 * i, norms + 2 * i);
    if (i < n) {
        size_t left = (size_t)(n - i);
        float rest[64] = {0}, rest_c[16], rest_norms[8];
        memcpy(rest, logits + 16 * i, left * 64);
        NAME(mix_four)(rest, inverse_temperature, rest_c, rest_norms);
        memcpy(c + 4 * i, rest_c, left * 16);
        memcpy(norms + 2 * i, rest_norms, left * 8);
    }
}

/* d logits = p (M dc - c . dc) / T, with the p of `mix` computed again */
static void NAME(mix_backward)(const float *logits, float inverse_temperature, int64_t n, const float *c,
                               const float *norms, const float *gc, float *glogits)
{
    for (int64_t i = 0; i < n; i++, logits += 16, c += 4, norms += 2, gc += 4, glogits += 16) {
        float mean = c[0] * gc[0] + c[1] * gc[1] + c[2] * gc[2] + c[3] * gc[3];
        float scale = norms[1] * inverse_temperature;
        for (int r = 0; r < 16; r += LANES) {
            FV e = NAME(exponential)((LOAD_LOOSE(logits + r) - norms[0]) * inverse_temperature);
            FV g = gc[0] * LOAD(GATES[0] + r) - mean;
            g += gc[1] * LOAD(GATES[1] + r);
            g += gc[2] * LOAD(GATES[2] + r);
            g += gc[3] * LOAD(GATES[3] + r);
            STORE_LOOSE(glogits + r, (e * scale) * g);
        }
    }
}

/* Bit j of masks[d]: whether feature d of sample j is not 0. Returns whether all values are 0 or 1. */
static int NAME(masks_of_floats)(const float *x, int64_t features, int samples, uint16_t *masks)
{
    int odd = 0;
    memset(masks, 0, (size_t)features * sizeof *masks);
    for (int j = 0; j < samples; j++, x += features)
        for (int64_t d = 0; d < features; d++) {
            int on = x[d] != 0.0f;
            masks[d] |= (uint16_t)(on << j);
            odd |= on & (x[d] != 1.0f);
        }
    return !odd;
}

static void NAME(masks_of_bytes)(const uint8_t *x, int64_t features, int samples, uint16_t *masks)
{
    memset(masks, 0, (size_t)features * sizeof *masks);
    for (int j = 0; j < samples; j++, x += features)
        for (int64_t d = 0; d < features; d++)
            masks[d] |= (uint16_t)((x[d] != 0) << j);
}

/* Rows of 0 and 1 from masks. */
static void NAME(rows_of_masks)(const uint16_t *masks, int64_t features, float *rows)
{
    for (int64_t d = 0; d < features; d++)
        for (int j = 0; j < TILE; j++)
            rows[d * TILE + j] = (float)(masks[d] >> j & 1);
}

#if LANES == 16
/* layer_forward on inputs of 0 and 1 given as masks: the same sums, 32 times fewer bytes to read. */
static void NAME(first_forward)(const uint16_t *in, float *out, int64_t n, const int32_t *a, const int32_t *b,
                                const float *c)
{
    for (int64_t i = 0; i < n; i++, c += 4, out += TILE) {
        __mmask16 u = in[a[i]], v = in[b[i]];
        __m512 p = _mm512_set1_ps(c[0]), q = _mm512_set1_ps(c[2]);
        p = _mm512_mask_add_ps(p, u, p, _mm512_set1_ps(c[1]));
        q = _mm512_mask_add_ps(q, u, q, _mm512_set1_ps(c[3]));
        _mm512_store_ps(out, _mm512_mask_add_ps(p, v, p, q));
    }
}

/* layer_backward on such inputs, which want no gradient. */
static void NAME(first_backward)(const uint16_t *in, const float *g, int64_t n, const int32_t *a, const int32_t *b,
                                 float *gc, int fresh)
{
    for (int64_t i = 0; i < n; i++, gc += 4, g += TILE) {
        __mmask16 u = in[a[i] & INT32_MAX], v = in[b[i] & INT32_MAX];
        __m512 w = _mm512_load_ps(g), wu = _mm512_maskz_mov_ps(u, w);
        four s = NAME(sums)((FV)w, (FV)wu, (FV)_mm512_maskz_mov_ps(v, w), (FV)_mm512_maskz_mov_ps(v, wu));
        if (!fresh)
            s += *(loose_four *)gc;
        *(loose_four *)gc = s;
    }
}
#endif

static const struct variant NAME(variant) = {
    NAME(layer_forward), NAME(group_sums),   NAME(backward_rows), NAME(backward_groups),
    NAME(mix),           NAME(mix_backward), NAME(masks_of_floats), NAME(masks_of_bytes), NAME(rows_of_masks),
#if LANES == 16
    NAME(first_forward), NAME(first_backward),
#else
    0, 0,
#endif
};

#undef FV
#undef IV
#undef BYTES
#undef LOAD
#undef STORE
#undef LOAD_LOOSE
#undef STORE_LOOSE
#undef INLINE
#undef UNPACK_LOW
#undef UNPACK_HIGH
#undef PAIRS_LOW
#undef PAIRS_HIGH
#undef LEAST
#undef MOST
#undef PICK
