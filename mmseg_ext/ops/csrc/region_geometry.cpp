// mmseg_ext::region_geometry and mmseg_ext::bin_index on a CPU: the index of free-form pooling,
// from a map of cells (superpixels) to the cells of the feature map in each bin of each region.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

namespace mmseg_ext {
namespace {

struct Box {
  int64_t x1, y1, x2, y2;
  void add(const Box& other) {
    x1 = std::min(x1, other.x1), y1 = std::min(y1, other.y1);
    x2 = std::max(x2, other.x2), y2 = std::max(y2, other.y2);
  }
};

// So many pixels of a cell of the image lie in a place of the map.
struct Entry {
  int64_t cell, place;
  int32_t pixels;
};

// cells (H, W) int32, indptr (R + 1,), indices (nnz,) int64 -> boxes (R, 4), masks (R, h, w)
std::tuple<at::Tensor, at::Tensor> region_geometry(const at::Tensor& cells,
                                                   const at::Tensor& indptr,
                                                   const at::Tensor& indices, int64_t height,
                                                   int64_t width, int64_t stride, bool half) {
  const int64_t rows = cells.size(0), columns = cells.size(1), regions = indptr.numel() - 1;
  const int64_t num_cells = cells.numel() ? cells.max().item<int32_t>() + 1 : 0;
  TORCH_CHECK_VALUE(indices.numel() == 0 || (indices.min().item<int64_t>() >= 0 &&
                                             indices.max().item<int64_t>() < num_cells),
                    "Every region must have a pixel.");
  const int32_t* cell_of = cells.data_ptr<int32_t>();
  const int64_t* begin = indptr.data_ptr<int64_t>();
  const int64_t* members = indices.data_ptr<int64_t>();

  // place by place of the map, runs of equal pixels at once
  const Box nothing{columns, rows, -1, -1};
  std::vector<Box> boxes(num_cells, nothing);
  std::vector<Entry> entries;
  std::vector<int32_t> pixels(num_cells, 0), total(height * width, 0);
  std::vector<int64_t> touched, first(num_cells + 1, 0);
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

  at::Tensor region_boxes = at::empty({regions, 4}, indptr.options());
  at::Tensor masks = at::empty({regions, height, width}, indptr.options().dtype(at::kBool));
  auto* box_out = reinterpret_cast<Box*>(region_boxes.data_ptr<int64_t>());
  bool* mask_out = masks.data_ptr<bool>();
  at::parallel_for(0, regions, 16, [&](int64_t from, int64_t to) {
    std::vector<int32_t> covered(height * width);
    for (int64_t region = from; region < to; ++region) {
      std::fill(covered.begin(), covered.end(), 0);
      Box box = nothing;
      for (int64_t k = begin[region]; k < begin[region + 1]; ++k) {
        box.add(boxes[members[k]]);
        for (int64_t e = first[members[k]]; e < first[members[k] + 1]; ++e)
          covered[sorted[e].place] += sorted[e].pixels;
      }
      box_out[region] = box;
      bool* mask = mask_out + region * height * width;
      bool any = false;
      int32_t most = 0;
      for (int64_t i = 0; i < height * width; ++i) {
        mask[i] = covered[i] > 0 && (!half || 2 * covered[i] >= total[i]);
        any |= mask[i];
        most = std::max(most, covered[i]);
      }
      if (!any)
        for (int64_t i = 0; i < height * width; ++i) mask[i] = covered[i] == most;
    }
  });
  TORCH_CHECK_VALUE((region_boxes.select(1, 0) <= region_boxes.select(1, 2)).all().item<bool>(),
                    "Every region must have a pixel.");
  return {region_boxes, masks};
}

// For every bin (k, i, j) the cells of its rectangle that are in the mask, in row-major (or
// column-major) order. images (K,), rows (2, K, ph) and columns (2, K, pw): the first of each bin
// and the first behind it, int64; masks (K, h, w) bool, or none for all cells.
std::tuple<at::Tensor, at::Tensor> bin_index(const at::Tensor& images, const at::Tensor& rows,
                                             const at::Tensor& columns,
                                             const c10::optional<at::Tensor>& masks, int64_t height,
                                             int64_t width, bool column_major) {
  const int64_t count = images.numel(), ph = rows.size(2), pw = columns.size(2);
  const int64_t* image = images.data_ptr<int64_t>();
  const int64_t* row = rows.data_ptr<int64_t>();
  const int64_t* column = columns.data_ptr<int64_t>();
  const bool* mask = masks ? masks->data_ptr<bool>() : nullptr;
  const auto longs = images.options();
  at::Tensor indptr = at::zeros({count * ph * pw + 1}, longs);
  int64_t* ends = indptr.data_ptr<int64_t>() + 1;

  // calls visit(cell) for the cells of a bin
  const auto each_cell = [&](int64_t k, int64_t i, int64_t j, const auto& visit) {
    const int64_t y1 = row[k * ph + i], y2 = row[(count + k) * ph + i];
    const int64_t x1 = column[k * pw + j], x2 = column[(count + k) * pw + j];
    const bool* inside = mask ? mask + k * height * width : nullptr;
    const auto look = [&](int64_t cell) {
      if (!inside || inside[cell]) visit(cell);
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
    int64_t cells = 0;
    each_cell(k, i, j, [&](int64_t) { ++cells; });
    ends[bin] = cells;
  });
  for (int64_t bin = 1; bin < count * ph * pw; ++bin) ends[bin] += ends[bin - 1];
  at::Tensor indices = at::empty({count * ph * pw ? ends[count * ph * pw - 1] : 0}, longs);
  int64_t* out = indices.data_ptr<int64_t>();
  each_bin([&](int64_t k, int64_t i, int64_t j, int64_t bin) {
    int64_t* next = out + ends[bin - 1];  // the index begins with a 0 before the first end
    each_cell(k, i, j, [&](int64_t cell) { *next++ = image[k] * height * width + cell; });
  });
  return {indptr, indices};
}

}  // namespace
}  // namespace mmseg_ext

TORCH_LIBRARY_IMPL(mmseg_ext, CPU, m) {
  m.impl("region_geometry", mmseg_ext::region_geometry);
  m.impl("bin_index", mmseg_ext::bin_index);
}
