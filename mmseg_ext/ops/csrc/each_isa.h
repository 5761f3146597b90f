// Compiles the file MMSEG_EXT_KERNELS, inside a namespace of the including file, for AVX-512, for
// AVX2 and for whatever the compiler makes by default; MMSEG_EXT_CALL takes the best that the
// processor has. For kernels that use vectors of their own, which MMSEG_EXT_EACH_ISA (vectorize.h)
// cannot serve: a compiler takes them apart before it makes versions of a function.
// MMSEG_EXT_VECTOR_BYTES is the size of a register, which the compiler's own macros do not tell
// behind a pragma.
#ifdef MMSEG_EXT_MANY_ISAS
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#define MMSEG_EXT_VECTOR_BYTES 64
namespace avx512 {
#include MMSEG_EXT_KERNELS
}
#undef MMSEG_EXT_VECTOR_BYTES
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define MMSEG_EXT_VECTOR_BYTES 32
namespace avx2 {
#include MMSEG_EXT_KERNELS
}
#undef MMSEG_EXT_VECTOR_BYTES
#pragma GCC pop_options
#define MMSEG_EXT_CALL(kernel, ...)                                                              \
  (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&                    \
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")              \
       ? avx512::kernel(__VA_ARGS__)                                                             \
   : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? avx2::kernel(__VA_ARGS__) \
                                                                     : plain::kernel(__VA_ARGS__))
#else
#define MMSEG_EXT_CALL(kernel, ...) plain::kernel(__VA_ARGS__)
#endif
#if defined(__AVX512F__)
#define MMSEG_EXT_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define MMSEG_EXT_VECTOR_BYTES 32
#else
#define MMSEG_EXT_VECTOR_BYTES 16
#endif
namespace plain {
#include MMSEG_EXT_KERNELS
}
#undef MMSEG_EXT_VECTOR_BYTES
