// mmseg_ext::region_geometry and mmseg_ext::bin_index on a CPU: the index of free-form pooling,
// from a map of cells (superpixels) to the positions of the feature map in each bin of each region.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "checks.h"

namespace mmseg_ext {
namespace {

// More than an image of 8,000 x 8,000 pixels has if each is a cell; the tables of all cells are then
// 3 GB.
constexpr int64_t kMostCells = int64_t{1} << 26;
// Times the positions of a map they are no overflow.
constexpr int64_t kMostImages = int64_t{1} << 14;

struct Box {
  int64_t x1, y1, x2, y2;
  void add(const Box& other) {
    x1 = std::min(x1, other.x1), y1 = std::min(y1, other.y1);
    x2 = std::max(x2, other.x2), y2 = std::max(y2, other.y2);
  }
};

// So many pixels of a cell lie in a position of the feature map, `place`.
struct Entry {
  int64_t cell, place;
  int32_t pixels;
};

// Whether at most so many positions of `stride` pixels begin in front of `end`.
bool covers(int64_t places, int64_t stride, int64_t end) {
  return end == 0 || (end - 1) / stride < places;
}

// cells (H, W) int32, indptr (R + 1,), indices (nnz,) int64 -> boxes (R, 4), masks (R, h, w)
std::tuple<at::Tensor, at::Tensor> region_geometry(const at::Tensor& cells_,
                                                   const at::Tensor& indptr_,
                                                   const at::Tensor& indices_, int64_t height,
                                                   int64_t width, int64_t stride, bool half) {
  const at::Tensor cells = checked(cells_, "cells", at::kInt, "(H, W)", {kAny, kAny});
  const at::Tensor indptr = checked(indptr_, "indptr", at::kLong, "(R + 1,)", {kAny});
  const at::Tensor indices = checked(indices_, "indices", at::kLong, "(nnz,)", {kAny});
  check_indptr(indptr, indices);
  const int64_t rows = cells.size(0), columns = cells.size(1), regions = indptr.numel() - 1;
  TORCH_CHECK_VALUE(stride >= 1, "stride must be at least 1, got ", stride, ".");
  TORCH_CHECK_VALUE(covers(height, stride, rows) && covers(width, stride, columns), "A map of ",
                    height, "x", width, " positions of ", stride, "x", stride,
                    " pixels does not cover an image of ", rows, "x", columns, ".");
  const int64_t places = product({height, width}, "A map");
  product({regions, places}, "The masks");
  const int64_t num_cells = cells.numel() ? int64_t{cells.max().item<int32_t>()} + 1 : 0;
  TORCH_CHECK_VALUE(num_cells <= kMostCells, "cells holds the number ", num_cells - 1,
                    ", but there may be ", kMostCells, " cells at most, from 0 on.");
  TORCH_CHECK_VALUE(all_between<int64_t>(indices, 0, num_cells),
                    "Every region must have a pixel.");
  at::Tensor region_boxes = at::empty({regions, 4}, indptr.options());
  at::Tensor masks = at::empty({regions, height, width}, indptr.options().dtype(at::kBool));
  if (regions == 0) return {region_boxes, masks};
  const int32_t* cell_of = cells.data_ptr<int32_t>();
  const int64_t* begin = indptr.data_ptr<int64_t>();
  const int64_t* members = indices.data_ptr<int64_t>();

  // position by position of the map, runs of equal pixels at once
  const Box nothing{columns, rows, -1, -1};
  auto boxes = make_table(num_cells, nothing, "the cells");
  auto pixels = make_table<int32_t>(num_cells, 0, "the cells");
  auto first = make_table<int64_t>(num_cells + 1, 0, "the cells");
  auto total = make_table<int32_t>(places, 0, "the map");
  std::vector<Entry> entries;
  std::vector<int64_t> touched;
  for (int64_t top = 0; top < rows; top += stride) {
    for (int64_t left = 0; left < columns; left += stride) {
      const int64_t bottom = std::min(top + stride, rows), right = std::min(left + stride, columns);
      const int64_t place = top / stride * width + left / stride;
      touched.clear();
      for (int64_t y = top; y < bottom; ++y) {
        for (int64_t x = left; x < right;) {
          const int32_t cell = cell_of[y * columns + x];
          const int64_t start = x;
          while (x < right && cell_of[y * columns + x] == cell) ++x;
          if (cell < 0) continue;
          if (pixels[cell] == 0) touched.push_back(cell);
          pixels[cell] += x - start;
          boxes[cell].add({start, y, x - 1, y});
        }
      }
      for (int64_t cell : touched) {
        entries.push_back({cell, place, pixels[cell]});
        pixels[cell] = 0;
        ++first[cell + 1];
      }
      total[place] = (bottom - top) * (right - left);
    }
  }
  // by cell: a counting sort
  for (int64_t cell = 0; cell < num_cells; ++cell) first[cell + 1] += first[cell];
  std::vector<Entry> sorted(entries.size());
  std::vector<int64_t> next(first.begin(), first.end() - 1);
  for (const Entry& entry : entries) sorted[next[entry.cell]++] = entry;

  auto* box_out = reinterpret_cast<Box*>(region_boxes.data_ptr<int64_t>());
  bool* mask_out = masks.data_ptr<bool>();
  at::parallel_for(0, regions, 16, [&](int64_t from, int64_t to) {
    auto covered = make_table<int32_t>(places, 0, "the map");
    for (int64_t region = from; region < to; ++region) {
      std::fill(covered.begin(), covered.end(), 0);
      Box box = nothing;
      for (int64_t k = begin[region]; k < begin[region + 1]; ++k) {
        box.add(boxes[members[k]]);
        for (int64_t e = first[members[k]]; e < first[members[k] + 1]; ++e)
          covered[sorted[e].place] += sorted[e].pixels;
      }
      box_out[region] = box;
      bool* mask = mask_out + region * places;
      bool any = false;
      int32_t most = 0;
      for (int64_t i = 0; i < places; ++i) {
        mask[i] = covered[i] > 0 && (!half || 2 * int64_t{covered[i]} >= total[i]);
        any |= mask[i];
        most = std::max(most, covered[i]);
      }
      if (!any)
        for (int64_t i = 0; i < places; ++i) mask[i] = covered[i] == most;
    }
  });
  TORCH_CHECK_VALUE((region_boxes.select(1, 0) <= region_boxes.select(1, 2)).all().item<bool>(),
                    "Every region must have a pixel.");
  return {region_boxes, masks};
}

// For every bin (k, i, j) the positions of its rectangle that are in the mask, in row-major (or
// column-major) order. images (K,), rows (2, K, ph) and columns (2, K, pw): the first of each bin
// and the first behind it, int64; masks (K, h, w) bool, or none for all positions.
std::tuple<at::Tensor, at::Tensor> bin_index(const at::Tensor& images_, const at::Tensor& rows_,
                                             const at::Tensor& columns_,
                                             const c10::optional<at::Tensor>& masks_,
                                             int64_t height, int64_t width, bool column_major) {
  const at::Tensor images = checked(images_, "images", at::kLong, "(K,)", {kAny});
  const int64_t count = images.numel();
  const at::Tensor rows = checked(rows_, "rows", at::kLong, "(2, K, ph)", {2, count, kAny});
  const at::Tensor columns =
      checked(columns_, "columns", at::kLong, "(2, K, pw)", {2, count, kAny});
  c10::optional<at::Tensor> masks;
  if (masks_) masks = checked(*masks_, "masks", at::kBool, "(K, h, w)", {count, height, width});
  const int64_t ph = rows.size(2), pw = columns.size(2), positions = product({height, width}, "A map");
  product({count, ph, pw}, "The bins");
  TORCH_CHECK_VALUE(all_between<int64_t>(rows, 0, height + 1) &&
                        all_between<int64_t>(columns, 0, width + 1),
                    "The bins must lie in the map of ", height, "x", width, " positions.");
  TORCH_CHECK_VALUE(all_between<int64_t>(images, 0, kMostImages),
                    "images must be numbers from 0 to ", kMostImages - 1, ".");
  const int64_t* image = images.data_ptr<int64_t>();
  const int64_t* row = rows.data_ptr<int64_t>();
  const int64_t* column = columns.data_ptr<int64_t>();
  // not as bool, which may hold any byte if it was made from other memory
  const auto* mask = masks ? static_cast<const uint8_t*>(masks->data_ptr()) : nullptr;
  const auto longs = images.options();
  at::Tensor indptr = at::zeros({count * ph * pw + 1}, longs);
  int64_t* ends = indptr.data_ptr<int64_t>() + 1;

  // calls visit(position) for the positions of a bin that are in the mask
  const auto each_position = [&](int64_t k, int64_t i, int64_t j, const auto& visit) {
    const int64_t y1 = row[k * ph + i], y2 = row[(count + k) * ph + i];
    const int64_t x1 = column[k * pw + j], x2 = column[(count + k) * pw + j];
    const uint8_t* inside = mask ? mask + k * positions : nullptr;
    const auto look = [&](int64_t position) {
      if (!inside || inside[position]) visit(position);
    };
    if (column_major) {
      for (int64_t x = x1; x < x2; ++x)
        for (int64_t y = y1; y < y2; ++y) look(y * width + x);
    } else {
      for (int64_t y = y1; y < y2; ++y)
        for (int64_t x = x1; x < x2; ++x) look(y * width + x);
    }
  };
  const auto each_bin = [&](const auto& visit) {
    at::parallel_for(0, count, 16, [&](int64_t from, int64_t to) {
      for (int64_t k = from; k < to; ++k)
        for (int64_t bin = 0; bin < ph * pw; ++bin) visit(k, bin / pw, bin % pw, k * ph * pw + bin);
    });
  };
  each_bin([&](int64_t k, int64_t i, int64_t j, int64_t bin) {
    int64_t found = 0;
    if (mask) {
      each_position(k, i, j, [&](int64_t) { ++found; });
    } else {
      const auto length = [](int64_t first, int64_t end) { return std::max<int64_t>(end - first, 0); };
      found = length(row[k * ph + i], row[(count + k) * ph + i]) *
              length(column[k * pw + j], column[(count + k) * pw + j]);
    }
    ends[bin] = found;
  });
  for (int64_t bin = 1; bin < count * ph * pw; ++bin) {
    ends[bin] += ends[bin - 1];
    TORCH_CHECK_VALUE(ends[bin] <= kMostNumbers, "The bins have more than ", kMostNumbers,
                      " positions in all.");
  }
  at::Tensor indices = at::empty({count * ph * pw ? ends[count * ph * pw - 1] : 0}, longs);
  int64_t* out = indices.data_ptr<int64_t>();
  each_bin([&](int64_t k, int64_t i, int64_t j, int64_t bin) {
    int64_t* next = out + ends[bin - 1];  // the index begins with a 0 before the first end
    each_position(k, i, j, [&](int64_t position) { *next++ = image[k] * positions + position; });
  });
  return {indptr, indices};
}

}  // namespace
}  // namespace mmseg_ext

TORCH_LIBRARY_IMPL(mmseg_ext, CPU, m) {
  m.impl("region_geometry", mmseg_ext::region_geometry);
  m.impl("bin_index", mmseg_ext::bin_index);
}
