/* Compiles the file that BODY names once for each set of instructions, with LANES (floats of a vector) and NAME(x)
   defined; `PICK(number, x)` is then the address of x for a set: 0 baseline, 1 AVX2, 2 AVX-512. */

#define LANES 4
#define NAME(x) x##_base
#include BODY
#undef LANES
#undef NAME

#if defined(__x86_64__)
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
#define LANES 8
#define NAME(x) x##_avx2
#include BODY
#undef LANES
#undef NAME
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512dq,avx512bw,avx512vl"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512dq,avx512bw,avx512vl")
#endif
#define LANES 16
#define NAME(x) x##_avx512
#include BODY
#undef LANES
#undef NAME
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#define PICK(number, x) ((number) == 2 ? &x##_avx512 : (number) == 1 ? &x##_avx2 : &x##_base)
#else
#define PICK(number, x) ((void)(number), &x##_base)
#endif

#undef BODY
