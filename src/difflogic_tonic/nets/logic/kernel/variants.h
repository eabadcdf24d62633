/* The kernel for each set of instructions, and the choice between them when the library is loaded. */

#define ROW 16 /* floats of space for the values of one neuron in a tile of samples: a line of the cache */
#define AHEAD 10 /* neurons between the fetch of a row and its use */
#define NEAR_ROWS 6000 /* rows of a layer that a cache of the second level holds beside others */
#define MAX_GROUPS 16
#define CHUNK 512 /* neurons per piece of work outside of the tiles */

typedef float four __attribute__((vector_size(16)));
typedef int32_t four_ints __attribute__((vector_size(16)));
typedef float loose_four __attribute__((vector_size(16), aligned(4), may_alias));

/* Coefficients of the sixteen gates, one row per coefficient. */
static const float GATES[4][16] __attribute__((aligned(64))) = {
    {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1},
    {0, 0, 1, 1, 0, 0, 1, 1, -1, -1, 0, 0, -1, -1, 0, 0},
    {0, 0, 0, 0, 1, 1, 1, 1, -1, -1, -1, -1, 0, 0, 0, 0},
    {0, 1, -1, 0, -1, 0, -2, -1, 1, 2, 0, 1, 0, 1, -1, 0},
};

/* Rows and masks are those of a storage: floats for 16 samples and masks of 16 bits, or halves for 32 and 32 bits. */
struct variant {
    int samples;
    void (*layer_forward)(const void *, void *, int64_t, const int32_t *, const int32_t *, const float *, int);
    void (*group_sums)(const void *, float *, int64_t, const int32_t *, const int32_t *, const float *, int64_t);
    void (*backward_rows)(const void *, const void *, void *, int64_t, const int32_t *, const int32_t *, const float *,
                          float, float *, int);
    void (*backward_groups)(const void *, const float *, void *, int64_t, const int32_t *, const int32_t *,
                            const float *, float, float *, int, int64_t);
    int (*masks_of_floats)(const float *, int64_t, int, void *);
    void (*masks_of_bytes)(const uint8_t *, int64_t, int, void *);
    void (*masks_of_bits)(const uint8_t *, int64_t, int, void *);
    void (*rows_of_masks)(const void *, int64_t, void *);
    void (*rows_of_floats)(const float *, int64_t, int, void *);
    void (*floats_of_rows)(const void *, int64_t, int, float, float *);
    void (*mix)(const float *, float, int64_t, float *, float *, int);
    void (*mix_backward)(const float *, float, int64_t, const float *, const float *, const float *, float *, int);
    /* 0 where rows are as good as masks */
    void (*first_forward)(const void *, void *, int64_t, const int32_t *, const int32_t *, const float *);
    void (*first_backward)(const void *, const void *, int64_t, const int32_t *, const int32_t *, float *, int);
};

#define BODY "variant.h"
#include "each.h"

/* The fastest set of instructions that this processor has: 0 baseline, 1 AVX2 with FMA and F16C, 2 AVX-512. */
int logic_best_variant(void)
{
#if defined(__x86_64__)
    unsigned a, b, c = 0, d;
    __get_cpuid(1, &a, &b, &c, &d); /* not all compilers know f16c by name */
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && (c & bit_F16C);
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return 2;
    return avx2 ? 1 : 0;
#else
    return 0;
#endif
}

static const struct variant *variant_of(int64_t number, int half)
{
    return half ? PICK(number, variant_half) : PICK(number, variant);
}
