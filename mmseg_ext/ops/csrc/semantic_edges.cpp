// mmseg_ext::semantic_edges on a CPU: which pixels have a neighbour of another label.
//
// A pixel is an edge where the smallest and the largest label around it differ. To take them, each
// row of labels is copied twice, into one for the minimum and one for the maximum, in which ignored
// pixels and the surroundings of the image have a value that changes nothing. The copies of three
// rows stay in the L1 cache, so the labels are read once. They have 16 bits. Labels that need more
// are rare; an image with such labels is done again with 64 bits.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <type_traits>
#include <vector>

#include "checks.h"
#include "vectorize.h"

namespace mmseg_ext {
namespace {

// A row of labels for the minimum and for the maximum, with one more pixel at either end.
template <typename R>
struct Row {
  explicit Row(int64_t width)
      : low(width + 2, std::numeric_limits<R>::max()),
        high(width + 2, std::numeric_limits<R>::min()) {}
  void clear() {
    std::fill(low.begin(), low.end(), std::numeric_limits<R>::max());
    std::fill(high.begin(), high.end(), std::numeric_limits<R>::min());
  }
  std::vector<R> low, high;
};

// Returns whether all labels can be numbers of the type R.
template <typename T, typename R>
MMSEG_EXT_INLINE bool copy_row(const T* label, int64_t width, R ignored, R* __restrict low,
                               R* __restrict high) {
  using U = std::make_unsigned_t<T>;
  U seen = 0;
  for (int64_t x = 0; x < width; ++x) {
    const T value = label[x];
    seen |= static_cast<U>(value) - static_cast<U>(std::numeric_limits<R>::min());
    const R copied = static_cast<R>(value);
    low[x] = copied == ignored ? std::numeric_limits<R>::max() : copied;
    high[x] = copied == ignored ? std::numeric_limits<R>::min() : copied;
  }
  return sizeof(T) <= sizeof(R) || seen <= std::numeric_limits<std::make_unsigned_t<R>>::max();
}

template <typename R>
MMSEG_EXT_INLINE R least(R a, R b, R c) {
  const R ab = a < b ? a : b;
  return ab < c ? ab : c;
}

template <typename R>
MMSEG_EXT_INLINE R greatest(R a, R b, R c) {
  const R ab = a > b ? a : b;
  return ab > c ? ab : c;
}

template <typename R>
MMSEG_EXT_INLINE void least_of_rows(const R* a, const R* b, const R* c, int64_t count,
                                    R* __restrict to) {
  for (int64_t x = 0; x < count; ++x) to[x] = least(a[x], b[x], c[x]);
}

template <typename R>
MMSEG_EXT_INLINE void greatest_of_rows(const R* a, const R* b, const R* c, int64_t count,
                                       R* __restrict to) {
  for (int64_t x = 0; x < count; ++x) to[x] = greatest(a[x], b[x], c[x]);
}

// From what is least and greatest in each column of three rows, and from the middle row.
template <typename R>
MMSEG_EXT_INLINE void mark_edges(const R* low, const R* high, const R* own_low, const R* own_high,
                                 int64_t width, uint8_t* __restrict edge) {
  for (int64_t x = 0; x < width; ++x) {
    const R from = least(low[x], low[x + 1], low[x + 2]);
    const R to = greatest(high[x], high[x + 1], high[x + 2]);
    // the copies of an ignored pixel are the wrong way round
    const R end = own_low[x + 1] > own_high[x + 1] ? from : to;
    edge[x] = from != end;
  }
}

// One version of each for every type, as the attribute does not go with templates.
#define MMSEG_EXT_COPY(T, R)                                                            \
  MMSEG_EXT_EACH_ISA bool copy(const T* label, int64_t width, R ignored, Row<R>& row) { \
    return copy_row(label, width, ignored, row.low.data() + 1, row.high.data() + 1);    \
  }
#define MMSEG_EXT_EDGES(R)                                                                    \
  MMSEG_EXT_EACH_ISA void edges(const Row<R>& above, const Row<R>& row, const Row<R>& below,  \
                                int64_t width, Row<R>& columns, uint8_t* edge) {              \
    R *low = columns.low.data(), *high = columns.high.data();                                 \
    least_of_rows(above.low.data(), row.low.data(), below.low.data(), width + 2, low);        \
    greatest_of_rows(above.high.data(), row.high.data(), below.high.data(), width + 2, high); \
    mark_edges<R>(low, high, row.low.data(), row.high.data(), width, edge);                   \
  }
MMSEG_EXT_COPY(uint8_t, int16_t)
MMSEG_EXT_COPY(int16_t, int16_t)
MMSEG_EXT_COPY(int32_t, int16_t)
MMSEG_EXT_COPY(int64_t, int16_t)
MMSEG_EXT_COPY(int64_t, int64_t)
MMSEG_EXT_EDGES(int16_t)
MMSEG_EXT_EDGES(int64_t)
#undef MMSEG_EXT_COPY
#undef MMSEG_EXT_EDGES

// Returns false, and edges without a meaning, if a label does not fit into the type R.
template <typename T, typename R>
bool find_edges(const at::Tensor& labels, R ignored, const at::Tensor& result) {
  const int64_t height = labels.size(1), width = labels.size(2), rows = labels.size(0) * height;
  const T* label = labels.data_ptr<T>();
  auto* edge = static_cast<uint8_t*>(result.data_ptr());
  std::atomic<bool> fits{true};
  at::parallel_for(0, rows, 1 + 16384 / width, [&](int64_t begin, int64_t end) {
    std::vector<Row<R>> window(3, Row<R>(width));
    Row<R> columns(width);
    const auto copy_to_window = [&](int64_t row, bool exists) {
      Row<R>& to = window[(row + 3) % 3];
      if (!exists) return to.clear();
      if (!copy(label + row * width, width, ignored, to)) fits = false;
    };
    for (int64_t row = begin; row < end && fits; ++row) {
      const int64_t y = row % height;
      if (row == begin || y == 0) {
        copy_to_window(row - 1, y > 0);
        copy_to_window(row, true);
      }
      copy_to_window(row + 1, y + 1 < height);
      edges(window[(row + 2) % 3], window[row % 3], window[(row + 1) % 3], width, columns,
            edge + row * width);
    }
  });
  return fits;
}

// labels (N, H, W) uint8, int16, int32 or int64 -> bool (N, H, W)
at::Tensor semantic_edges(const at::Tensor& labels_, int64_t ignore_index) {
  const auto type = labels_.scalar_type();
  TORCH_CHECK_VALUE(type == at::kByte || type == at::kShort || type == at::kInt || type == at::kLong,
                    "labels must be uint8, int16, int32 or int64, got ", type, ".");
  const at::Tensor labels = checked(labels_, "labels", type, "(N, H, W)", {kAny, kAny, kAny});
  at::Tensor result = at::empty(labels.sizes(), labels.options().dtype(at::kBool));
  if (labels.numel() == 0) return result;
  const auto ignored = static_cast<int16_t>(ignore_index);
  bool done = false;
  if (ignored == ignore_index) {
    done = type == at::kByte    ? find_edges<uint8_t>(labels, ignored, result)
           : type == at::kShort ? find_edges<int16_t>(labels, ignored, result)
           : type == at::kInt   ? find_edges<int32_t>(labels, ignored, result)
                                : find_edges<int64_t>(labels, ignored, result);
  }
  if (!done) find_edges<int64_t>(labels.to(at::kLong), ignore_index, result);
  return result;
}

}  // namespace
}  // namespace mmseg_ext

TORCH_LIBRARY_IMPL(mmseg_ext, CPU, m) { m.impl("semantic_edges", mmseg_ext::semantic_edges); }
