
/* Bits of up to 64 frames, as they lie in memory, to a word for each bit. */
static void take(const uint8_t *bits, size_t n, uint64_t inputs[${NAME}_BITS])
{
    int block, j, k, i;
    for (block = 0; block < ${NAME}_BITS; block += 64) {
        uint64_t a[64] = {0}, mask = UINT64_C(0xffffffff);
        int there = ${NAME}_BITS - block < 64 ? ${NAME}_BITS - block : 64;
        size_t s;
        for (s = 0; s < n; s++)
            for (i = 0; i < (there + 7) / 8; i++)
                a[s] |= (uint64_t)bits[s * ${NAME}_BYTES + (size_t)(block / 8 + i)] << 8 * i;
        for (j = 32; j; j >>= 1, mask ^= mask << j) /* transpose: Warren, Hacker's Delight, 7-3 */
            for (k = 0; k < 64; k = ((k | j) + 1) & ~j) {
                uint64_t t = ((a[k] >> j) ^ a[k | j]) & mask;
                a[k | j] ^= t;
                a[k] ^= t << j;
            }
        memcpy(inputs + block, a, sizeof(uint64_t) * (size_t)there);
    }
}

void ${NAME}_batch(const uint8_t *bits, size_t n, uint32_t *scores)
{
    uint64_t inputs[${NAME}_BITS];
    uint32_t some[64 * ${NAME}_CLASSES];
    size_t start;
    for (start = 0; start < n; start += 64) {
        size_t there = n - start < 64 ? n - start : 64;
        take(bits + start * ${NAME}_BYTES, there, inputs);
        ${NAME}_64(inputs, some);
        memcpy(scores + start * ${NAME}_CLASSES, some, sizeof(uint32_t) * there * ${NAME}_CLASSES);
    }
}
