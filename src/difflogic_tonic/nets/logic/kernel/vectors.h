/* Vectors of LANES floats. Included once per instruction set, by variant.h. */

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
#define UNPACK_LOW 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define UNPACK_HIGH 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define PAIRS_LOW 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define PAIRS_HIGH 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LEAST(bound, x) ((FV)_mm512_min_ps((__m512)(bound), (__m512)(x))) /* the second where either is NaN */
#define MOST(x, bound) ((FV)_mm512_max_ps((__m512)(bound), (__m512)(x)))
#elif LANES == 8
#define UNPACK_LOW 0, 8, 1, 9, 4, 12, 5, 13
#define UNPACK_HIGH 2, 10, 3, 11, 6, 14, 7, 15
#define PAIRS_LOW 0, 1, 8, 9, 4, 5, 12, 13
#define PAIRS_HIGH 2, 3, 10, 11, 6, 7, 14, 15
#define LEAST(bound, x) ((FV)_mm256_min_ps((__m256)(bound), (__m256)(x)))
#define MOST(x, bound) ((FV)_mm256_max_ps((__m256)(bound), (__m256)(x)))
#else
#define UNPACK_LOW 0, 4, 1, 5
#define UNPACK_HIGH 2, 6, 3, 7
#define PAIRS_LOW 0, 1, 4, 5
#define PAIRS_HIGH 2, 3, 6, 7
#define PICK(mask, x, y) ((FV)(((mask) & (IV)(x)) | (~(mask) & (IV)(y))))
#define LEAST(bound, x) PICK((bound) < (x), bound, x)
#define MOST(x, bound) PICK((bound) > (x), bound, x)
#endif

/* Lanes of two vectors by their numbers, those of y after those of x. */
#ifdef __clang__
#define SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define SHUFFLE(x, y, ...) __builtin_shuffle(x, y, (IV){__VA_ARGS__})
#endif

/* The sums over the lanes of four vectors, as one vector of four. */
INLINE four NAME(sums)(FV s0, FV s1, FV s2, FV s3)
{
    FV t0 = SHUFFLE(s0, s1, UNPACK_LOW) + SHUFFLE(s0, s1, UNPACK_HIGH);
    FV t1 = SHUFFLE(s2, s3, UNPACK_LOW) + SHUFFLE(s2, s3, UNPACK_HIGH);
    FV t = SHUFFLE(t0, t1, PAIRS_LOW) + SHUFFLE(t0, t1, PAIRS_HIGH);
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
