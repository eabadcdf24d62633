/* One block of samples through a program. Included once per instruction set and row width.
 *
 * ROW words make a row, LANES of them a vector V; NAME(x) names what belongs to this inclusion, MASK64(p) is the bits of
 * "byte is not 0" of 64 bytes. TAKE4(from, apart, to, to_apart), where there is one: word i of 4 at from + j * apart goes
 * to to[i * to_apart + j].
 */

#define PARTS (ROW / LANES)
#define SAMPLES (64 * ROW)
#define EIGHT (8 * ROW + 8) /* words for eight times ROW samples; blocks of them are not a power of two apart */
#define LOAD(p) (*(const V *)(p))
#define STORE(p, v) (*(V *)(p) = (v))

/* One step of a transposition of 64 by 64 bits: blocks of `distance` bits change places between words that are `step`
 * vectors apart. */
INLINE void NAME(swap_bits)(V *z, const int distance, const int step)
{
    static const uint64_t low[6] = {0x5555555555555555, 0x3333333333333333, 0x0f0f0f0f0f0f0f0f,
                                    0x00ff00ff00ff00ff, 0x0000ffff0000ffff, 0x00000000ffffffff};
    const uint64_t mask = low[__builtin_ctz(distance)];
    for (int k = 0; k < 8; k++)
        if (!(k & step)) {
            V t = ((z[k] >> distance) ^ z[k | step]) & mask;
            z[k | step] ^= t;
            z[k] ^= t << distance;
        }
}

/* The steps of a transposition inside of eight words, in each of ROW columns. */
INLINE void NAME(swap_near)(const uint64_t *from, uint64_t *to)
{
    for (int part = 0; part < PARTS; part++) {
        V z[8];
        for (int i = 0; i < 8; i++)
            z[i] = LOAD(from + i * ROW + part * LANES);
        NAME(swap_bits)(z, 4, 4);
        NAME(swap_bits)(z, 2, 2);
        NAME(swap_bits)(z, 1, 1);
        for (int i = 0; i < 8; i++)
            STORE(to + i * ROW + part * LANES, z[i]);
    }
}

/* The steps between the eights of a[64][ROW]. */
INLINE void NAME(swap_far)(uint64_t *a)
{
    for (int column = 0; column < 8 * ROW; column += LANES) {
        V z[8];
        for (int i = 0; i < 8; i++)
            z[i] = LOAD(a + i * 8 * ROW + column);
        NAME(swap_bits)(z, 32, 4);
        NAME(swap_bits)(z, 16, 2);
        NAME(swap_bits)(z, 8, 1);
        for (int i = 0; i < 8; i++)
            STORE(a + i * 8 * ROW + column, z[i]);
    }
}

/* Bit f of word s becomes bit s of word f, in each of the ROW columns of a[64][ROW]. */
static void NAME(transpose)(uint64_t *a)
{
    for (int i = 0; i < 64; i += 8)
        NAME(swap_near)(a + i * ROW, a + i * ROW);
    NAME(swap_far)(a);
}

/* Masks of `words` samples `apart` bytes from each other: 64 features of each to a word, and the words of the same features
 * beside each other. Up to `end` there is something to be read. */
INLINE void NAME(take_masks)(const uint8_t *p, const uint8_t *end, int64_t apart, const int words, int64_t features,
                             uint64_t (*masks)[EIGHT], const int form)
{
    const int64_t each = form == BITS ? 8 : 64, left = features % 64;
    uint64_t(*const whole)[EIGHT] = masks + features / 64;
#ifdef TAKE4
    if (form == BITS && words == ROW)
        for (; masks + 4 <= whole; masks += 4, p += 4 * each)
            for (int word = 0; word < ROW; word += 4)
                TAKE4(p + word * apart, apart, *masks + word, EIGHT);
#endif
    for (; masks < whole; masks++, p += each)
        for (int word = 0; word < words; word++)
            if (form == BITS) {
                memcpy(*masks + word, p + word * apart, sizeof **masks);
            } else {
                (*masks)[word] = MASK64(p + word * apart);
                __builtin_prefetch(p + word * apart + AHEAD);
            }
    for (int word = 0; word < words && left; word++) {
        const uint8_t *q = p + word * apart;
        uint8_t bytes[64] = {0};
        uint64_t mask;
        if (q + each > end)
            q = memcpy(bytes, q, (size_t)(end - q));
        if (form == BITS)
            memcpy(&mask, q, sizeof mask);
        else
            mask = MASK64(q);
        (*masks)[word] = mask & ((1ull << left) - 1);
    }
}

/* Features of samples as they come into rows, of which there are `inputs`, rounded up to 64. `count` samples are there, the
 * rest is 0. Samples are read to their end in ROW streams, which is what processors expect; their masks go through half of
 * the transposition on the way to the rows. */
INLINE void NAME(take_samples)(const struct evaluation *e, const uint8_t *frames, int64_t count, uint64_t *rows,
                               const int form)
{
    uint64_t masks[FEATURE_BLOCKS][EIGHT] __attribute__((aligned(64)));
    const int64_t apart = 64 * e->stride, width = form == BITS ? (e->inputs + 7) / 8 : e->inputs;
    const uint8_t *end = frames + (count - 1) * e->stride + width;
    for (int64_t from = 0; from < 64; from += 8)
        for (int64_t first = 0; first < e->inputs; first += 64 * FEATURE_BLOCKS) {
            const int64_t left = e->inputs - first, features = left < 64 * FEATURE_BLOCKS ? left : 64 * FEATURE_BLOCKS;
            const int64_t blocks = (features + 63) / 64;
            if (count < SAMPLES)
                memset(masks, 0, (size_t)blocks * sizeof *masks);
            for (int64_t s = from; s < from + 8 && s < count; s++) {
                const uint8_t *p = frames + s * e->stride + (form == BITS ? first / 8 : first);
                uint64_t(*to)[EIGHT] = (void *)&masks[0][(s - from) * ROW];
                if (s + 64 * (ROW - 1) < count)
                    NAME(take_masks)(p, end, apart, ROW, features, to, form);
                else
                    NAME(take_masks)(p, end, apart, (int)((count - s + 63) / 64), features, to, form);
            }
            for (int64_t block = 0; block < blocks; block++)
                NAME(swap_near)(masks[block], rows + (first + 64 * block + from) * ROW);
        }
    for (int64_t first = 0; first < e->inputs; first += 64)
        NAME(swap_far)(rows + first * ROW);
}

#define GATE(number, expression)                                                                                       \
    case number:                                                                                                       \
        for (int32_t i = 0; i < n; i++, p += 3)                                                                        \
            for (int part = 0; part < PARTS; part++) {                                                                 \
                V a = LOAD(rows + (int64_t)p[0] * ROW + part * LANES);                                                 \
                V b = LOAD(rows + (int64_t)p[1] * ROW + part * LANES);                                                 \
                (void)a;                                                                                               \
                (void)b;                                                                                               \
                STORE(rows + (int64_t)p[2] * ROW + part * LANES, (expression));                                        \
            }                                                                                                          \
        break

static const int32_t *NAME(gates)(int32_t gate, int32_t n, const int32_t *p, uint64_t *rows)
{
    const V zero = {0};
    switch (gate) {
        GATE(0, zero);
        GATE(1, a & b);
        GATE(2, a & ~b);
        GATE(3, a);
        GATE(4, ~a & b);
        GATE(5, b);
        GATE(6, a ^ b);
        GATE(7, a | b);
        GATE(8, ~(a | b));
        GATE(9, ~(a ^ b));
        GATE(10, ~b);
        GATE(11, a | ~b);
        GATE(12, ~a);
        GATE(13, ~a | b);
        GATE(14, ~(a & b));
        GATE(15, ~zero);
    }
    return p;
}

/* Carry-save: the sum of three bits, in place, and the carry. */
#define ADD3(carry, sum, x, y)                                                                                         \
    do {                                                                                                               \
        V s_ = (sum), x_ = (x), y_ = (y), half_ = s_ ^ x_;                                                             \
        (sum) = half_ ^ y_;                                                                                            \
        (carry) = (s_ & x_) | (half_ & y_);                                                                            \
    } while (0)

/* Adds `carry`, of weight 2^from, to the counter. */
INLINE void NAME(ripple)(V *counter, int from, const int depth, V carry)
{
    for (int d = from; d < depth; d++) {
        V before = counter[d * PARTS];
        counter[d * PARTS] = before ^ carry;
        carry &= before;
    }
}

/* Adds n rows, each xor `flip`, to the counter V[depth][PARTS] of one part, eight at a time (Harley-Seal). */
INLINE void NAME(count_rows)(V *counter, const int depth, const uint64_t *rows, const int32_t *p, int32_t n, const V flip)
{
#define NEXT (LOAD(rows + (int64_t)*p++ * ROW) ^ flip)
    int32_t i = 0;
    if (depth > 3) {
        V ones = counter[0], twos = counter[PARTS], fours = counter[2 * PARTS];
        for (; i + 8 <= n; i += 8) {
            V two_a, two_b, four_a, four_b, eight;
            V r0 = NEXT, r1 = NEXT, r2 = NEXT, r3 = NEXT, r4 = NEXT, r5 = NEXT, r6 = NEXT, r7 = NEXT;
            ADD3(two_a, ones, r0, r1);
            ADD3(two_b, ones, r2, r3);
            ADD3(four_a, twos, two_a, two_b);
            ADD3(two_a, ones, r4, r5);
            ADD3(two_b, ones, r6, r7);
            ADD3(four_b, twos, two_a, two_b);
            ADD3(eight, fours, four_a, four_b);
            NAME(ripple)(counter, 3, depth, eight);
        }
        counter[0] = ones;
        counter[PARTS] = twos;
        counter[2 * PARTS] = fours;
    }
    for (; i < n; i++)
        NAME(ripple)(counter, 0, depth, NEXT);
#undef NEXT
}

/* Numbers of `bits` bits from planes [numbers][bits][ROW], by sample. */
static void NAME(put_scores)(const struct evaluation *e, const uint64_t *planes, int64_t first, int64_t count)
{
    const int64_t width = e->depth <= 16 ? 16 : 32, at_once = 64 / width;
    uint64_t a[64 * ROW] __attribute__((aligned(64)));
    for (int64_t k = 0; k < e->classes; k += at_once) {
        int64_t some = e->classes - k < at_once ? e->classes - k : at_once;
        memset(a, 0, sizeof a);
        for (int64_t i = 0; i < some; i++)
            memcpy(a + i * width * ROW, planes + (k + i) * e->depth * ROW, (size_t)e->depth * ROW * sizeof *a);
        NAME(transpose)(a);
        for (int64_t s = 0; s < count; s++) {
            uint64_t numbers = a[(s % 64) * ROW + s / 64];
            int32_t *to = e->scores + (first + s) * e->classes + k;
            for (int64_t i = 0; i < some; i++, numbers >>= width % 64)
                to[i] = (int32_t)(numbers & ((1ull << width) - 1));
        }
    }
}

/* The first class with the highest score, by comparing bits of all samples at once. */
static void NAME(put_answers)(const struct evaluation *e, const uint64_t *planes, int64_t first, int64_t count)
{
    uint64_t index[64 * ROW] __attribute__((aligned(64))), best[32 * ROW] __attribute__((aligned(64)));
    memset(index, 0, sizeof index);
    memcpy(best, planes, (size_t)e->depth * ROW * sizeof *best);
    for (int64_t k = 1; k < e->classes; k++)
        for (int part = 0; part < PARTS; part++) {
            const uint64_t *other = planes + k * e->depth * ROW + part * LANES;
            uint64_t *mine = best + part * LANES;
            V more = {0};
            for (int64_t d = 0; d < e->depth; d++) {
                V x = LOAD(other + d * ROW), y = LOAD(mine + d * ROW);
                more = (x & ~y) | ((x | ~y) & more);
            }
            for (int64_t d = 0; d < e->depth; d++) {
                V x = LOAD(other + d * ROW), y = LOAD(mine + d * ROW);
                STORE(mine + d * ROW, y ^ ((x ^ y) & more));
            }
            for (int64_t bit = 0; (e->classes - 1) >> bit; bit++) {
                V before = LOAD(index + bit * ROW + part * LANES);
                STORE(index + bit * ROW + part * LANES, k >> bit & 1 ? before | more : before & ~more);
            }
        }
    NAME(transpose)(index);
    for (int64_t s = 0; s < count; s++)
        e->answers[first + s] = (int32_t)index[(s % 64) * ROW + s / 64];
}

static void NAME(take_frames)(const struct evaluation *e, int64_t block, int64_t count, uint64_t *rows)
{
    size_t row_bytes = ROW * sizeof *rows;
    if (e->form == PLANES)
        memcpy(rows, e->frames + (size_t)block * (size_t)e->inputs * row_bytes, (size_t)e->inputs * row_bytes);
    else if (e->form == BITS)
        NAME(take_samples)(e, e->frames + block * SAMPLES * e->stride, count, rows, BITS);
    else
        NAME(take_samples)(e, e->frames + block * SAMPLES * e->stride, count, rows, BYTES);
    if (e->state_before)
        memcpy(rows + e->inputs * ROW, e->state_before + block * e->state * ROW, (size_t)e->state * row_bytes);
    else
        memset(rows + e->inputs * ROW, 0, (size_t)e->state * row_bytes);
}

/* `rows` is followed by the planes of the scores, [classes][depth][ROW]. */
static void NAME(run_block)(const struct evaluation *e, int64_t block, uint64_t *rows)
{
    const int64_t first = block * SAMPLES, left = e->samples - first, count = left < SAMPLES ? left : SAMPLES;
    const int32_t *p = e->program, *end = p + e->words;
    uint64_t *planes = rows + e->rows * ROW;
    NAME(take_frames)(e, block, count, rows);
    memset(planes, 0, (size_t)(e->classes * e->depth * ROW) * sizeof *planes);
    while (p < end) {
        const int32_t kind = *p++, n = kind == SUM ? p[1] : p[0];
        if (kind < SUM) {
            p = NAME(gates)(kind, n, p + 1, rows);
        } else if (kind == SUM) {
            uint64_t *counter = planes + *p * e->depth * ROW;
            const int32_t flipped = p[2];
            p += 3;
            for (int part = 0; part < PARTS; part++) {
                V *mine = (V *)counter + part;
                const V zero = {0};
                NAME(count_rows)(mine, (int)e->depth, rows + part * LANES, p, n, zero);
                NAME(count_rows)(mine, (int)e->depth, rows + part * LANES, p + n, flipped, ~zero);
            }
            p += n + flipped;
        } else {
            for (p++; e->state_after && p < end; p++)
                for (int word = 0; word < ROW; word++)
                    e->state_after[(block * e->state + (n - (end - p))) * ROW + word] = rows[*p * ROW + word];
            p = end;
        }
    }
    if (e->scores)
        NAME(put_scores)(e, planes, first, count);
    if (e->answers)
        NAME(put_answers)(e, planes, first, count);
}

#undef PARTS
#undef SAMPLES
#undef EIGHT
#undef LOAD
#undef STORE
#undef GATE
#undef ADD3
