// Enlarged maps that are made tile by tile: a row of a tile is a blend of a few rows of the small
// map, and each of these is brought to the width of the tile once, for all rows that need it.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "checks.h"
#include "vectorize.h"

namespace mmseg_ext {

// One direction of an enlargement (ops/enlargement.py): position i of the large map is the sum over
// k of weight(k, i) times position first[i] + k of the small one, which has `in` of them. A weight
// of 0 counts nothing, whatever it stands at: 0 times infinity would be NaN.
template <typename A>
struct Axis {
  Axis(const at::Tensor& first_, const at::Tensor& weight_, int64_t in_)
      : in(in_),
        out(first_.size(0)),
        taps(weight_.size(0)),
        first(first_.data_ptr<int32_t>()),
        weights(weight_.data_ptr<A>()) {}
  A weight(int64_t k, int64_t i) const { return weights[k * out + i]; }
  int64_t in, out, taps;
  const int32_t* first;
  const A* weights;  // (taps, out)
};

// The two tensors of an axis, if no tap lies beyond the small map.
inline std::pair<at::Tensor, at::Tensor> readable_axis(const at::Tensor& first_,
                                                       const at::Tensor& weight_, int64_t in,
                                                       int64_t out, at::ScalarType type) {
  const at::Tensor first = checked(first_, "first", at::kInt, "(out,)", {out});
  const at::Tensor weight = checked(weight_, "weight", type, "(taps, out)", {kAny, first.size(0)});
  TORCH_CHECK_VALUE(weight.size(0) >= 1, "weight must have a row for each tap, got none.");
  TORCH_CHECK_VALUE(all_between<int32_t>(first, 0, in - weight.size(0) + 1),
                    "first must be from 0 to ", in - weight.size(0), ": the map has ", in,
                    " positions and each sum ", weight.size(0), ".");
  return {first, weight};
}

// Rows top to bottom - 1, columns left to right - 1 of the large map of an image.
struct Tile {
  int64_t image, top, bottom, left, right;
  int64_t count() const { return right - left; }
};

// Cuts maps into tiles, a row of tiles after the other.
class Tiling {
 public:
  Tiling(int64_t images, int64_t height, int64_t width, int64_t tile_height, int64_t tile_width)
      : height_(height),
        width_(width),
        tile_height_(tile_height),
        tile_width_(tile_width),
        down_((height + tile_height - 1) / tile_height),
        across_((width + tile_width - 1) / tile_width),
        count_(images * down_ * across_) {}
  int64_t count() const { return count_; }
  Tile operator[](int64_t i) const {
    const int64_t left = i % across_ * tile_width_, top = i / across_ % down_ * tile_height_;
    return {i / across_ / down_, top, std::min(top + tile_height_, height_), left,
            std::min(left + tile_width_, width_)};
  }

 private:
  int64_t height_, width_, tile_height_, tile_width_, down_, across_, count_;
};

// Columns of a tile, so that a row of all classes is 128 KiB of floats where they are few enough:
// about five of these have to stay in an L2 cache of 1 MiB.
inline int64_t tile_width(int64_t classes) {
  return std::max<int64_t>(64, std::min<int64_t>(512, (1 << 15) / classes / 64 * 64));
}

constexpr int64_t kTileHeight = 64;

// Rows of a tile, which belong to rows of the small map: the last `taps` that were asked for. A row
// has `width` numbers for each class.
template <typename A>
struct RowRing {
  RowRing(int64_t taps, int64_t classes, int64_t width)
      : size(classes * width), owner(taps, -1), numbers(taps * size) {}
  int64_t slot(int64_t y) const { return y % static_cast<int64_t>(owner.size()); }
  bool holds(int64_t y) const { return owner[slot(y)] == y; }
  A* operator[](int64_t y) { return numbers.data() + slot(y) * size; }
  void forget() { std::fill(owner.begin(), owner.end(), -1); }
  const int64_t size;
  std::vector<int64_t> owner;  // of each slot: which row of the small map
  std::vector<A> numbers;
};

// to[c][j] = row of class c of the small map, at column j of a tile. Rows of `to` are `width` apart.
template <typename A>
MMSEG_EXT_INLINE void widen_row(const A* __restrict from, int64_t by_class, const Axis<A>& columns,
                                int64_t left, int64_t classes, int64_t count, int64_t width,
                                A* __restrict to) {
  const int32_t* __restrict first = columns.first + left;
  for (int64_t c = 0; c < classes; ++c) {
    A* out = to + c * width;
    for (int64_t k = 0; k < columns.taps; ++k) {
      const A* row = from + c * by_class + k;
      const A* __restrict weight = columns.weights + k * columns.out + left;
      for (int64_t j = 0; j < count; ++j) {
        const A number = row[first[j]];  // read in any case, so that there is no branch
        const A part = weight[j] == 0 ? A(0) : weight[j] * number;
        out[j] = k == 0 ? part : out[j] + part;
      }
    }
  }
}

// Sees to it that the ring has the rows of the small map, (C, h, w), that row y of a tile is made of.
template <typename A>
MMSEG_EXT_INLINE void widen_rows(const A* image, int64_t classes, const Axis<A>& rows,
                                 const Axis<A>& columns, const Tile& tile, int64_t y, int64_t width,
                                 RowRing<A>& wide) {
  for (int64_t k = 0; k < rows.taps; ++k) {
    const int64_t i = rows.first[y] + k;
    if (rows.weight(k, y) == 0 || wide.holds(i)) continue;
    widen_row(image + i * columns.in, rows.in * columns.in, columns, tile.left, classes,
              tile.count(), width, wide[i]);
    wide.owner[wide.slot(i)] = i;
  }
}

// to[j] = one class of row y of a tile.
template <typename A>
MMSEG_EXT_INLINE void blend(RowRing<A>& wide, const Axis<A>& rows, int64_t y, int64_t offset,
                            int64_t count, A* __restrict to) {
  bool is_first = true;
  for (int64_t k = 0; k < rows.taps; ++k) {
    const A weight = rows.weight(k, y);
    if (weight == 0) continue;
    const A* __restrict from = wide[rows.first[y] + k] + offset;
    if (is_first) {
      for (int64_t j = 0; j < count; ++j) to[j] = weight * from[j];
    } else {
      for (int64_t j = 0; j < count; ++j) to[j] += weight * from[j];
    }
    is_first = false;
  }
  if (is_first) std::fill_n(to, count, A(0));
}

}  // namespace mmseg_ext
