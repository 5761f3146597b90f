// Selection of the k hardest pixels without sorting them.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <mutex>
#include <type_traits>
#include <vector>

#include "vectorize.h"

namespace mmseg_ext {

// What is known of a pixel before the selection. Afterwards it is 1 (kept) or 0.
enum Code : uint8_t { kIgnored = 0, kEasy = 1, kHard = 2 };

constexpr int64_t kGrain = 1 << 15;  // pixels of a task that does little for each
constexpr int kBits = 12;            // leading bits of a difficulty that a histogram tells apart
using Histogram = std::array<int64_t, 1 << kBits>;

// An unsigned integer that orders as the difficulty does. NaN counts as infinity: a pixel that
// broke is a hard one, and dropping it would hide that training diverges.
template <typename A>
using Key = typename std::conditional<sizeof(A) == 4, uint32_t, uint64_t>::type;

template <typename A>
MMSEG_EXT_INLINE Key<A> order_key(A difficulty) {
  const A value = difficulty == difficulty ? difficulty : std::numeric_limits<A>::infinity();
  const auto bits = bit_cast<Key<A>>(value + A(0));  // -0 becomes 0
  constexpr int kSign = 8 * sizeof(A) - 1;
  // negative: all bits change, positive: the sign does; without a branch, as signs may be random
  return bits ^ ((Key<A>(0) - (bits >> kSign)) | (Key<A>(1) << kSign));
}

// Keeps the pixels over a cut, and those at it if `ties`. There are no branches: which pixels are
// kept is not to be guessed by the processor.
template <typename A>
MMSEG_EXT_INLINE void keep_over_cut(const A* __restrict difficulty, uint8_t* __restrict codes,
                                    int64_t n, Key<A> cut, bool ties) {
  for (int64_t i = 0; i < n; ++i) {
    const Key<A> key = order_key(difficulty[i]);
    codes[i] = (codes[i] != kIgnored) & ((key > cut) | ((key == cut) & ties));
  }
}
MMSEG_EXT_EACH_ISA static inline void keep_over(const float* difficulty, uint8_t* codes, int64_t n,
                                                uint32_t cut, bool ties) {
  keep_over_cut(difficulty, codes, n, cut, ties);
}
MMSEG_EXT_EACH_ISA static inline void keep_over(const double* difficulty, uint8_t* codes, int64_t n,
                                                uint64_t cut, bool ties) {
  keep_over_cut(difficulty, codes, n, cut, ties);
}

// Keeps exactly min(k, valid pixels) of n pixels: the hardest, equally hard ones in memory order.
// A histogram of the leading bits finds the bin that holds the k-th; only that bin is looked at
// again.
template <typename A>
void keep_hardest(const A* difficulty, uint8_t* codes, int64_t n, int64_t k) {
  constexpr int kShift = 8 * sizeof(A) - kBits;
  std::mutex mutex;

  Histogram histogram{};
  at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
    // Neighbours are alike: in one histogram, each would wait for the count of the one before.
    std::array<std::array<int32_t, 1 << kBits>, 2> mine{};
    for (int64_t i = begin; i < end; ++i)
      mine[i % 2][order_key(difficulty[i]) >> kShift] += codes[i] != kIgnored;
    std::lock_guard<std::mutex> lock(mutex);
    for (size_t b = 0; b < histogram.size(); ++b) histogram[b] += mine[0][b] + mine[1][b];
  });
  int64_t above = 0;
  int64_t bin = histogram.size() - 1;
  while (bin >= 0 && above + histogram[bin] < k) above += histogram[bin--];
  if (bin < 0) {  // fewer than k are valid
    std::transform(codes, codes + n, codes, [](uint8_t code) { return code != kIgnored; });
    return;
  }

  std::vector<Key<A>> candidates;
  candidates.reserve(histogram[bin]);
  at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
    std::vector<Key<A>> mine(end - begin);
    int64_t count = 0;  // no branch either: a bin may hold a fifth of the pixels
    for (int64_t i = begin; i < end; ++i) {
      mine[count] = order_key(difficulty[i]);
      count += (static_cast<int64_t>(mine[count] >> kShift) == bin) & (codes[i] != kIgnored);
    }
    mine.resize(count);
    std::lock_guard<std::mutex> lock(mutex);
    candidates.insert(candidates.end(), mine.begin(), mine.end());
  });
  const auto kth = candidates.begin() + (k - above - 1);
  std::nth_element(candidates.begin(), kth, candidates.end(), std::greater<Key<A>>());
  const Key<A> cut = *kth;
  int64_t room = 1 + std::count(candidates.begin(), kth, cut);  // of the ties at the cut

  int64_t last = n;  // no tie behind this one, in memory order, is kept
  if (room < std::count(candidates.begin(), candidates.end(), cut)) {
    for (last = -1; room > 0;) {
      ++last;
      room -= (order_key(difficulty[last]) == cut) & (codes[last] != kIgnored);
    }
  }
  at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
    const int64_t middle = std::min(std::max(last + 1, begin), end);
    keep_over(difficulty + begin, codes + begin, middle - begin, cut, true);
    keep_over(difficulty + middle, codes + middle, end - middle, cut, false);
  });
}

// How many of n pixels are valid, and how many hard.
struct CodeCounts {
  int64_t valid, hard;
};
MMSEG_EXT_EACH_ISA static inline CodeCounts count_codes(const uint8_t* codes, int64_t n) {
  CodeCounts counts{0, 0};
  for (int64_t i = 0; i < n; ++i) {
    counts.valid += codes[i] != kIgnored;
    counts.hard += codes[i] == kHard;
  }
  return counts;
}

// Turns codes into a mask, over n pixels that are selected among each other: those over the
// threshold, or the min_kept hardest where these are more. Neither: all that are valid.
template <typename A>
void select(const A* difficulty, uint8_t* codes, int64_t n, bool has_thresh, int64_t num_hard,
            c10::optional<int64_t> min_kept) {
  if (min_kept.has_value() && !(has_thresh && num_hard >= *min_kept)) {
    keep_hardest(difficulty, codes, n, *min_kept);
    return;
  }
  const uint8_t least = has_thresh ? kHard : kEasy;
  at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) codes[i] = codes[i] >= least;
  });
}

}  // namespace mmseg_ext
