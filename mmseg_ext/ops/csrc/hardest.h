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

// Keeps exactly min(k, valid pixels) of n pixels: the hardest, equally hard ones in memory order.
// A histogram of the leading bits finds the bin that holds the k-th; only that bin is looked at
// again.
template <typename A>
void keep_hardest(const A* difficulty, uint8_t* codes, int64_t n, int64_t k) {
  constexpr int kShift = 8 * sizeof(A) - kBits;
  std::mutex mutex;

  Histogram histogram{};
  at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
    Histogram mine{};
    for (int64_t i = begin; i < end; ++i)
      mine[order_key(difficulty[i]) >> kShift] += codes[i] != kIgnored;
    std::lock_guard<std::mutex> lock(mutex);
    for (size_t b = 0; b < mine.size(); ++b) histogram[b] += mine[b];
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
    std::vector<Key<A>> mine;
    for (int64_t i = begin; i < end; ++i) {
      const Key<A> key = order_key(difficulty[i]);
      if (static_cast<int64_t>(key >> kShift) == bin && codes[i] != kIgnored) mine.push_back(key);
    }
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
    for (int64_t i = begin; i < end; ++i) {
      const Key<A> key = order_key(difficulty[i]);
      // no short cuts: which pixels are kept is not to be guessed by the processor
      codes[i] = (codes[i] != kIgnored) & ((key > cut) | ((key == cut) & (i <= last)));
    }
  });
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
