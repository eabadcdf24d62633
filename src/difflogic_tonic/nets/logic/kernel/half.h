/* Vectors of LANES floats from and to half precision, rounded to nearest, ties to even; beyond 65504 is infinity.
 * Included once per instruction set, by variant.h.
 *
 * Halves below 2^-14 are kept, down to 2^-24: the mode that sets tiny floats to 0 does not reach them, neither in the
 * instructions nor in the code in place of them, which has no tiny float on the way.
 */

#if LANES == 16
#define LOAD_HALF(p) ((FV)_mm512_cvtph_ps(_mm256_load_si256((const __m256i *)(p))))
#define STORE_HALF(p, v) _mm256_store_si256((__m256i *)(p), _mm512_cvtps_ph((__m512)(v), 8)) /* 8: to nearest, quiet */
#elif LANES == 8
#define LOAD_HALF(p) ((FV)_mm256_cvtph_ps(_mm_load_si128((const __m128i *)(p))))
#define STORE_HALF(p, v) _mm_store_si128((__m128i *)(p), _mm256_cvtps_ph((__m256)(v), 8))
#else
#define LOAD_HALF(p) NAME(load_half)(p)
#define STORE_HALF(p, v) NAME(store_half)(p, v)

INLINE FV NAME(load_half)(const uint16_t *p)
{
    IV h = {p[0], p[1], p[2], p[3]};
    IV bits = (h & 0x7fff) << 13, exponent = bits & 0x0f800000;
    IV tiny = exponent == 0, special = exponent == 0x0f800000;
    /* exponents of floats are 112 higher, those of infinity and NaN 224 */
    IV normal = bits + 0x38000000 + (special & 0x38000000);
    IV small = (IV)((FV)(bits + 0x38800000) - 0x1p-14f);
    return (FV)((tiny & small) | (~tiny & normal) | (h & 0x8000) << 16);
}

INLINE void NAME(store_half)(uint16_t *p, FV v)
{
    IV bits = (IV)v & 0x7fffffff, sign = (IV)v >> 16 & 0x8000;
    IV tiny = bits < 0x38800000, large = bits >= 0x47800000;
    /* in 0.5 ... 1 a float's last bit is worth 2^-24: the addition rounds */
    IV small = (IV)((FV)bits + 0.5f) - 0x3f000000;
    IV normal = (bits - 0x38000000 + 0xfff + (bits >> 13 & 1)) >> 13;
    IV special = (IV){0} + 0x7c00 + ((bits > 0x7f800000) & 0x200);
    IV h = (tiny & small) | (large & special) | (~(tiny | large) & normal) | sign;
    for (int k = 0; k < LANES; k++)
        p[k] = (uint16_t)h[k];
}
#endif
