// mmseg_ext::cluster_pixel_boxes on a CPU: greedy suppression that says which kept box each box
// joins.
//
// A box is compared with kept boxes only, in score order, many at once, up to the first that it
// joins: time is boxes times kept at most, memory boxes plus kept. Boxes are taken in chunks. All
// threads compare the boxes of a chunk with what was kept before it; then one compares those that
// have joined none with what the chunk itself keeps. The number of threads changes no result.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

#include "checks.h"
#include "hardest.h"
#include "vectorize.h"

namespace mmseg_ext {
namespace {

constexpr int kGroup = 32;  // kept boxes that a box is compared with at once
constexpr int64_t kFirstChunk = 256, kLastChunk = 4096;
constexpr int64_t kNone = -1;

template <typename T>
struct Box {
  T x1, y1, x2, y2, area;
};

// The boxes to be clustered, by their rank in score order.
template <typename T>
struct Boxes {
  // Its area is 0 if no box can join it, for want of an area or of a score. A box with two negative
  // sides overlaps no other, one with an infinite area has no IoU above 0: neither needs a mark.
  MMSEG_EXT_INLINE Box<T> operator[](int64_t rank) const {
    const T* corner = corners + 4 * int64_t{order[rank]};
    const T area = (corner[2] - corner[0]) * (corner[3] - corner[1]);
    const bool can_be_joined = area > 0 && !std::isnan(scores[order[rank]]);
    return {corner[0], corner[1], corner[2], corner[3], can_be_joined ? area : T(0)};
  }
  const T *corners, *scores;
  const int32_t* order;
};

// Kept boxes that others can join: all x1, then all y1, ..., as registers take them. `limit` is
// their part of what an intersection has to exceed.
template <typename T>
struct Group {
  T x1[kGroup], y1[kGroup], x2[kGroup], y2[kGroup], limit[kGroup], area[kGroup];
};

// IoU > t is the same as intersection > share * (sum of the areas), share = t / (1 + t), up to
// rounding. A quick test without a division finds the boxes that may overlap enough: its share is
// smaller by more than rounding can make up for. The slack does so for areas near the smallest
// number, which are rounded more.
template <typename T>
struct Threshold {
  explicit Threshold(double iou)
      : iou(static_cast<T>(iou)),
        share(iou > 1e-30 ? static_cast<T>(iou / (1 + iou) * (1 - 1e-5)) : T(0)),
        slack(share > 0 ? std::numeric_limits<T>::min() : T(0)) {}
  MMSEG_EXT_INLINE T limit(T area) const { return share * area - slack; }
  T iou, share, slack;
};

// The kept boxes of a group that may overlap enough, a bit for each.
template <typename T>
MMSEG_EXT_INLINE uint32_t find_candidates(const Box<T>& box, T limit, const Group<T>& kept) {
  uint32_t bits = 0;
  for (int k = 0; k < kGroup; ++k) {
    const T right = box.x2 < kept.x2[k] ? box.x2 : kept.x2[k];
    const T left = box.x1 > kept.x1[k] ? box.x1 : kept.x1[k];
    const T bottom = box.y2 < kept.y2[k] ? box.y2 : kept.y2[k];
    const T top = box.y1 > kept.y1[k] ? box.y1 : kept.y1[k];
    const T width = right > left ? right - left : T(0);
    bits |= width * (bottom - top) > limit + kept.limit[k] ? uint32_t{1} << k : 0;
  }
  return bits;
}

// Whether the IoU is above the threshold, as the reference computes it, to the last bit.
template <typename T>
MMSEG_EXT_INLINE bool overlaps(const Box<T>& box, const Group<T>& kept, int k, T iou) {
  const T width = std::min(box.x2, kept.x2[k]) - std::max(box.x1, kept.x1[k]);
  const T height = std::min(box.y2, kept.y2[k]) - std::max(box.y1, kept.y1[k]);
  // volatile: rounded before it is subtracted, also where one instruction could do both
  const volatile T intersection = std::max(width, T(0)) * std::max(height, T(0));
  return intersection / (box.area + kept.area[k] - intersection) > iou;
}

// The number of the first kept box that a box joins, from group `first` to before `end`, or kNone.
template <typename T>
MMSEG_EXT_INLINE int64_t find_first(const Box<T>& box, const Threshold<T>& threshold,
                                    const Group<T>* kept, int64_t first, int64_t end) {
  const T limit = threshold.limit(box.area);
  for (int64_t group = first; group < end; ++group) {
    for (uint32_t bits = find_candidates(box, limit, kept[group]); bits != 0; bits &= bits - 1) {
      const int k = __builtin_ctz(bits);
      if (overlaps(box, kept[group], k, threshold.iou)) return group * kGroup + k;
    }
  }
  return kNone;
}

// The same for the boxes of a range of ranks. One version for each type, as the attribute does not
// go with templates.
#define MMSEG_EXT_JOIN(T)                                                                        \
  MMSEG_EXT_EACH_ISA void join(const Boxes<T>& boxes, int64_t begin, int64_t end,                \
                               const Threshold<T>& threshold, const Group<T>* kept,              \
                               int64_t first_group, int64_t end_group, int64_t* joined) {        \
    for (int64_t i = begin; i < end; ++i, ++joined) {                                            \
      const Box<T> box = boxes[i];                                                               \
      *joined =                                                                                  \
          box.area > 0 ? find_first(box, threshold, kept, first_group, end_group) : kNone;       \
    }                                                                                            \
  }
MMSEG_EXT_JOIN(float)
MMSEG_EXT_JOIN(double)
#undef MMSEG_EXT_JOIN

// Adds the box of number k to the groups.
template <typename T>
void add(const Box<T>& box, int64_t k, T limit, std::vector<Group<T>>& groups) {
  k %= kGroup;
  if (k == 0) {
    groups.emplace_back();
    // nothing exceeds the limit of a box that is not there
    std::fill_n(groups.back().limit, kGroup, std::numeric_limits<T>::infinity());
  }
  Group<T>& group = groups.back();
  group.x1[k] = box.x1;
  group.y1[k] = box.y1;
  group.x2[k] = box.x2;
  group.y2[k] = box.y2;
  group.limit[k] = limit;
  group.area[k] = box.area;
}

// Indices of scores from high to low, equal ones in memory order; NaN is the lowest. A radix sort.
template <typename T>
std::vector<int32_t> descending_order(const T* scores, int64_t count) {
  constexpr int kBits = 11, kPasses = (8 * sizeof(T) + kBits - 1) / kBits;
  struct Entry {
    Key<T> key;
    int32_t index;
  };
  const auto digit = [](Key<T> key, int pass) {
    return (key >> (pass * kBits)) & ((1 << kBits) - 1);
  };
  std::vector<std::array<int64_t, 1 << kBits>> starts(kPasses);  // of the entries with a digit
  std::vector<Entry> entries(count), sorted(count);
  for (int64_t i = 0; i < count; ++i) {
    const T score = std::isnan(scores[i]) ? -std::numeric_limits<T>::infinity() : scores[i];
    const Key<T> key = ~order_key(score);
    entries[i] = {key, static_cast<int32_t>(i)};
    for (int pass = 0; pass < kPasses; ++pass) ++starts[pass][digit(key, pass)];
  }
  for (int pass = 0; pass < kPasses; ++pass) {
    int64_t start = 0;
    for (int64_t& number : starts[pass]) start += std::exchange(number, start);
    for (const Entry& entry : entries) sorted[starts[pass][digit(entry.key, pass)]++] = entry;
    entries.swap(sorted);
  }
  std::vector<int32_t> order(count);
  std::transform(entries.begin(), entries.end(), order.begin(),
                 [](const Entry& entry) { return entry.index; });
  return order;
}

// Writes cluster (P,) and returns keep (Q,).
template <typename T>
std::vector<int64_t> cluster_boxes(const T* corners, const T* scores, int64_t count, double iou,
                                   int64_t* cluster) {
  const std::vector<int32_t> order = descending_order(scores, count);
  const Boxes<T> boxes{corners, scores, order.data()};
  const Threshold<T> threshold(iou);
  std::vector<Group<T>> groups;
  std::vector<int64_t> keep, positions;  // in keep, of the boxes in the groups
  std::vector<int64_t> joined(std::min(count, kLastChunk));
  for (int64_t begin = 0, end; begin < count; begin = end) {
    end = std::min(count, begin + std::min(std::max(begin, kFirstChunk), kLastChunk));
    at::parallel_for(begin, end, kFirstChunk, [&](int64_t first, int64_t last) {
      join(boxes, first, last, threshold, groups.data(), 0, groups.size(), &joined[first - begin]);
    });
    const int64_t first_new = positions.size() / kGroup;
    for (int64_t i = begin; i < end; ++i) {
      int64_t number = joined[i - begin];
      if (number == kNone)
        join(boxes, i, i + 1, threshold, groups.data(), first_new, groups.size(), &number);
      if (number != kNone) {
        cluster[order[i]] = positions[number];
        continue;
      }
      const auto position = static_cast<int64_t>(keep.size());
      const Box<T> box = boxes[i];
      if (box.area > 0) {
        add(box, positions.size(), threshold.limit(box.area), groups);
        positions.push_back(position);
      }
      cluster[order[i]] = position;
      keep.push_back(order[i]);
    }
  }
  return keep;
}

// boxes (P, 4) float or double, scores (P,) of the same type -> keep (Q,), cluster (P,) int64
std::tuple<at::Tensor, at::Tensor> cluster_pixel_boxes(const at::Tensor& boxes_,
                                                       const at::Tensor& scores_,
                                                       double iou_thr) {
  const auto type = boxes_.scalar_type();
  TORCH_CHECK_VALUE(type == at::kFloat || type == at::kDouble,
                    "boxes must be float32 or float64, got ", type, ".");
  const at::Tensor boxes = checked(boxes_, "boxes", type, "(P, 4)", {kAny, 4});
  const int64_t count = boxes.size(0);
  const at::Tensor scores = checked(scores_, "scores", type, "(P,)", {count});
  TORCH_CHECK_VALUE(iou_thr >= 0 && iou_thr <= 1, "iou_thr must be from 0 to 1, got ", iou_thr,
                    ".");
  TORCH_CHECK_VALUE(count <= std::numeric_limits<int32_t>::max(), "boxes must be fewer than 2^31, ",
                    "got ", count, ".");
  at::Tensor cluster = at::empty({count}, boxes.options().dtype(at::kLong));
  std::vector<int64_t> keep;
  AT_DISPATCH_FLOATING_TYPES(type, "cluster_pixel_boxes", [&] {
    keep = cluster_boxes(boxes.data_ptr<scalar_t>(), scores.data_ptr<scalar_t>(), count, iou_thr,
                         cluster.data_ptr<int64_t>());
  });
  const at::Tensor kept = at::empty({static_cast<int64_t>(keep.size())}, cluster.options());
  std::copy(keep.begin(), keep.end(), kept.data_ptr<int64_t>());
  return {kept, cluster};
}

}  // namespace
}  // namespace mmseg_ext

TORCH_LIBRARY_IMPL(mmseg_ext, CPU, m) {
  m.impl("cluster_pixel_boxes", mmseg_ext::cluster_pixel_boxes);
}
