// What the kernels need to be fast on the machine that runs them, on which they may not be built.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#ifdef __linux__
#include <sys/mman.h>
#endif

// A function with this attribute is compiled for AVX-512, for AVX2 and for any x86-64, and the
// loader takes the best that the processor has. Inner loops over neighbouring pixels are left to
// the compiler's vectorizer. Elsewhere (clang, musl, ARM) there is one version; -DMMSEG_EXT_ONE_ISA
// (CFLAGS of the build) asks for that too, say together with -march=native.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(MMSEG_EXT_ONE_ISA)
#define MMSEG_EXT_MANY_ISAS
#define MMSEG_EXT_EACH_ISA __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define MMSEG_EXT_EACH_ISA
#endif

// Loops must end up inside the function that carries the attribute.
#define MMSEG_EXT_INLINE inline __attribute__((always_inline))

namespace mmseg_ext {

template <typename To, typename From>
MMSEG_EXT_INLINE To bit_cast(From value) {
  static_assert(sizeof(To) == sizeof(From), "sizes differ");
  To result;
  std::memcpy(&result, &value, sizeof(To));
  return result;
}

// x if `keep` is 1, 0 if it is 0, even if x is NaN: by bits, as the compiler makes a branch of a
// condition on bytes.
MMSEG_EXT_INLINE float masked(float x, uint8_t keep) {
  return bit_cast<float>(bit_cast<uint32_t>(x) & -static_cast<uint32_t>(keep));
}
MMSEG_EXT_INLINE double masked(double x, uint8_t keep) {
  return bit_cast<double>(bit_cast<uint64_t>(x) & -static_cast<uint64_t>(keep));
}

// exp(x) for x <= 0, to about one unit in the last place; exp(0) is 1, NaN stays NaN. The range is
// reduced by Cody and Waite's method, the polynomial is from Moshier's Cephes library (expf).
MMSEG_EXT_INLINE float exp_nonpositive(float x) {
  const float lowest = -87.33654f;  // below, the result is not a normal number: 0
  const float clamped = x < lowest ? lowest : x;
  const float round =
      12582912.f;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
  const float shifted = clamped * 1.44269504f + round;
  const float n = shifted - round;
  const float r = clamped - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.f;
  const uint32_t exponent = bit_cast<uint32_t>(shifted) - 0x4B400000u + 127u;
  const float result = p * bit_cast<float>(exponent << 23);
  return x < lowest ? 0.f : result;
}

// log(x) for normal x >= 1, to about one unit in the last place; log(1) is 0, NaN stays NaN.
// Polynomial: Cephes (logf).
MMSEG_EXT_INLINE float log_normal(float x) {
  const uint32_t bits = bit_cast<uint32_t>(x);
  const float half = bit_cast<float>((bits & 0x007FFFFFu) | 0x3F000000u);  // in [0.5, 1)
  const bool low = half < 0.707106781f;
  const float exponent = static_cast<float>(static_cast<int32_t>(bits >> 23) - 126 - (low ? 1 : 0));
  const float m = (low ? half + half : half) - 1.f;
  const float square = m * m;
  float p = 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  p = p * m * square - exponent * 2.12194440e-4f - 0.5f * square;
  const float result = m + p + exponent * 0.693359375f;
  return x == x ? result : x;
}

// Double precision is there to be exact, not fast.
inline double exp_nonpositive(double x) { return std::exp(x); }
inline double log_normal(double x) { return std::log(x); }

// Asks for large pages for memory that is about to be written for the first time. With pages of
// 4 KiB the page faults of a fresh 80 MB gradient take longer than all arithmetic on it.
inline void prefer_huge_pages(void* data, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  const size_t page = size_t{2} << 20;
  const size_t begin = (reinterpret_cast<size_t>(data) + page - 1) / page * page;
  const size_t end = (reinterpret_cast<size_t>(data) + bytes) / page * page;
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace mmseg_ext
