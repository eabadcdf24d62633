/* Runs a logic circuit on many samples at once: one bit of a register for each.
 *
 * The file is compiled once for all circuits; what to compute is data (program.h). Every instruction set has its copy of
 * block.h, for rows of 512 samples and of 64, and the caller chooses one at run time. Samples are independent and a block
 * of them belongs to one thread, so the result does not depend on the number of threads.
 */

#include "program.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define MAX_THREADS 256

/* Eight bytes at a time: bit i says whether byte i is not 0. */
INLINE uint64_t mask64_plain(const uint8_t *bytes)
{
    const uint64_t low = 0x7f7f7f7f7f7f7f7full;
    uint64_t mask = 0;
    for (int i = 0; i < 8; i++) {
        uint64_t x;
        memcpy(&x, bytes + 8 * i, 8);
        x = ((((x & low) + low) | x) & ~low) >> 7;
        mask |= ((x * 0x0102040810204080ull) >> 56) << (8 * i);
    }
    return mask;
}

#define V uint64_t
#define LANES 1
#define MASK64 mask64_plain
#define ROW 8
#define NAME(x) x##_plain
#include "block.h"
#undef ROW
#undef NAME
#define ROW 1
#define NAME(x) x##_plain_narrow
#include "block.h"
#undef ROW
#undef NAME
#undef V
#undef LANES
#undef MASK64

#if defined(__aarch64__)
typedef uint64_t v2 __attribute__((vector_size(16), may_alias));

INLINE uint64_t mask64_neon(const uint8_t *bytes)
{
    const uint8x16_t bits = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201ull));
    uint8x16_t part[4];
    for (int i = 0; i < 4; i++) {
        uint8x16_t x = vld1q_u8(bytes + 16 * i);
        part[i] = vandq_u8(vtstq_u8(x, x), bits);
    }
    uint8x16_t sums = vpaddq_u8(vpaddq_u8(part[0], part[1]), vpaddq_u8(part[2], part[3]));
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)), 0);
}

#define V v2
#define LANES 2
#define MASK64 mask64_neon
#define ROW 8
#define NAME(x) x##_neon
#include "block.h"
#undef ROW
#undef NAME
#undef V
#undef LANES
#undef MASK64
#endif

#if defined(__x86_64__)
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2")
#endif
typedef uint64_t v4 __attribute__((vector_size(32), may_alias));

INLINE uint64_t mask64_avx2(const uint8_t *bytes)
{
    const __m256i zero = _mm256_setzero_si256();
    uint32_t low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_loadu_si256((const void *)bytes), zero));
    uint32_t high = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_loadu_si256((const void *)(bytes + 32)), zero));
    return ~((uint64_t)high << 32 | low);
}

INLINE void take4_avx2(const uint8_t *from, int64_t apart, uint64_t *to, int64_t to_apart)
{
    __m256i r0 = _mm256_loadu_si256((const void *)from), r1 = _mm256_loadu_si256((const void *)(from + apart));
    __m256i r2 = _mm256_loadu_si256((const void *)(from + 2 * apart));
    __m256i r3 = _mm256_loadu_si256((const void *)(from + 3 * apart));
    __m256i a = _mm256_unpacklo_epi64(r0, r1), b = _mm256_unpackhi_epi64(r0, r1);
    __m256i c = _mm256_unpacklo_epi64(r2, r3), d = _mm256_unpackhi_epi64(r2, r3);
    _mm256_store_si256((void *)to, _mm256_permute2x128_si256(a, c, 0x20));
    _mm256_store_si256((void *)(to + to_apart), _mm256_permute2x128_si256(b, d, 0x20));
    _mm256_store_si256((void *)(to + 2 * to_apart), _mm256_permute2x128_si256(a, c, 0x31));
    _mm256_store_si256((void *)(to + 3 * to_apart), _mm256_permute2x128_si256(b, d, 0x31));
}

#define TAKE4 take4_avx2
#define V v4
#define LANES 4
#define MASK64 mask64_avx2
#define ROW 8
#define NAME(x) x##_avx2
#include "block.h"
#undef ROW
#undef NAME
#undef V
#undef LANES
#undef MASK64

#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,avx512f,avx512dq,avx512bw,avx512vl"))),              \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,avx512f,avx512dq,avx512bw,avx512vl")
#endif
typedef uint64_t v8 __attribute__((vector_size(64), may_alias));

INLINE uint64_t mask64_avx512(const uint8_t *bytes)
{
    __m512i x = _mm512_loadu_si512((const void *)bytes);
    return _mm512_test_epi8_mask(x, x);
}

#define V v8
#define LANES 8
#define MASK64 mask64_avx512
#define ROW 8
#define NAME(x) x##_avx512
#include "block.h"
#undef ROW
#undef NAME
#undef V
#undef LANES
#undef MASK64
#undef TAKE4
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

/* Which of PLAIN, NEON, AVX2, AVX512 this machine has, as bits. */
enum level { PLAIN, NEON, AVX2, AVX512 };

int64_t netlist_levels(void)
{
    int64_t levels = 1 << PLAIN;
#if defined(__aarch64__)
    levels |= 1 << NEON;
#elif defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"))
        levels |= 1 << AVX2;
    if ((levels & 1 << AVX2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        levels |= 1 << AVX512;
#endif
    return levels;
}

static block_function *function_of(const struct evaluation *e)
{
    if (!e->wide)
        return run_block_plain_narrow;
    switch (e->level) {
#if defined(__aarch64__)
    case NEON:
        return run_block_neon;
#elif defined(__x86_64__)
    case AVX2:
        return run_block_avx2;
    case AVX512:
        return run_block_avx512;
#endif
    default:
        return run_block_plain;
    }
}

struct crew {
    const struct evaluation *e;
    block_function *run;
    int64_t blocks, block_words;
    atomic_llong next, members;
};

static void *member(void *argument)
{
    struct crew *crew = argument;
    uint64_t *memory = crew->e->memory + atomic_fetch_add(&crew->members, 1) * crew->block_words;
    long long block;
    while ((block = atomic_fetch_add(&crew->next, 1)) < crew->blocks)
        crew->run(crew->e, block, memory);
    return 0;
}

/* Words of memory that each thread needs: rows, then planes. The inputs come in blocks of 64 before all else. */
int64_t netlist_block_words(const struct evaluation *e)
{
    int64_t row = e->wide ? 8 : 1, inputs = (e->inputs + 63) / 64 * 64, rows = e->rows + e->classes * e->depth;
    return ((rows > inputs ? rows : inputs) * row + 7) / 8 * 8;
}

int64_t netlist_structure_bytes(void)
{
    return sizeof(struct evaluation);
}

void netlist_run(const struct evaluation *e)
{
    const int64_t samples = e->wide ? 512 : 64;
    struct crew crew = {.e = e, .run = function_of(e), .blocks = (e->samples + samples - 1) / samples};
    pthread_t threads[MAX_THREADS];
    int64_t started = 0;
    crew.block_words = netlist_block_words(e);
    while (started + 1 < e->threads && started + 1 < crew.blocks && started < MAX_THREADS &&
           pthread_create(&threads[started], 0, member, &crew) == 0)
        started++;
    member(&crew); /* fewer threads than asked for take longer, that is all */
    while (started)
        pthread_join(threads[--started], 0);
}
