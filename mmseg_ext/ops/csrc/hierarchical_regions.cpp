// mmseg_ext::cell_histograms and mmseg_ext::merge_cells on a CPU. Histograms and what two of them
// have in common are whole numbers. The few floating-point operations have the order of the
// reference, so both find exactly the same regions.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <queue>
#include <tuple>
#include <vector>

#include "checks.h"
#include "vectorize.h"

namespace mmseg_ext {
namespace {

// to[i] += weight * from[i]
MMSEG_EXT_EACH_ISA void add_scaled(int32_t* __restrict to, const int32_t* __restrict from,
                                   int32_t weight, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] += weight * from[i];
}

// Derivatives of a Gaussian-smoothed channel along x and y. The border is repeated.
struct Derivatives {
  Derivatives(const uint8_t* image, int64_t height, int64_t width, int64_t channels,
              const at::Tensor& smooth, const at::Tensor& derive)
      : along_x(height * width), along_y(height * width) {
    const int64_t taps = smooth.numel(), radius = taps / 2;
    const int32_t* g = smooth.data_ptr<int32_t>();
    const int32_t* d = derive.data_ptr<int32_t>();
    std::vector<int32_t> smoothed(height * width), derived(height * width);
    std::vector<int32_t> row(width + 2 * radius);
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width + 2 * radius; ++x)
        row[x] = image[(y * width + clamp(x - radius, width)) * channels];
      for (int64_t t = 0; t < taps; ++t) {
        add_scaled(&smoothed[y * width], &row[t], g[t], width);
        add_scaled(&derived[y * width], &row[t], d[t], width);
      }
    }
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t from = clamp(y + t - radius, height) * width;
        add_scaled(&along_x[y * width], &derived[from], g[t], width);
        add_scaled(&along_y[y * width], &smoothed[from], d[t], width);
      }
    }
  }

  static int64_t clamp(int64_t i, int64_t size) {
    return std::min(std::max<int64_t>(i, 0), size - 1);
  }

  std::vector<int32_t> along_x, along_y;
};

// image (H, W, K) uint8, cells (H, W) int32 from 0 to num_cells - 1; colour_bins (256,), smooth and
// derive (taps,), edges (2, E) int32 -> (S, K * colours) and (S, K * 8 * (E + 1)) int32
std::tuple<at::Tensor, at::Tensor> cell_histograms(
    const at::Tensor& image_, const at::Tensor& cells_, int64_t num_cells,
    const at::Tensor& colour_bins_, const at::Tensor& smooth_, const at::Tensor& derive_,
    const at::Tensor& edges_) {
  constexpr int64_t kOrientations = 8;
  const at::Tensor image = checked(image_, "image", at::kByte, "(H, W, K)", {kAny, kAny, kAny});
  const int64_t height = image.size(0), width = image.size(1), channels = image.size(2);
  const at::Tensor cells = checked(cells_, "cells", at::kInt, "(H, W)", {height, width});
  const at::Tensor colour_bins = checked(colour_bins_, "colour_bins", at::kInt, "(256,)", {256});
  const at::Tensor smooth = checked(smooth_, "smooth", at::kInt, "(taps,)", {kAny});
  const at::Tensor derive = checked(derive_, "derive", at::kInt, "(taps,)", {smooth.numel()});
  const at::Tensor edges = checked(edges_, "edges", at::kInt, "(2, E)", {2, kAny});
  TORCH_CHECK_VALUE(cells.numel() > 0, "An image must have a pixel, got ", image.sizes(), ".");
  TORCH_CHECK_VALUE(smooth.numel() % 2 == 1, "A filter must have an odd number of taps, got ",
                    smooth.numel(), ".");
  // every cell has a pixel
  TORCH_CHECK_VALUE(num_cells <= cells.numel() && all_between<int32_t>(cells, 0, num_cells),
                    "cells must be numbers from 0 to num_cells - 1, of which there are no more than "
                    "pixels; got num_cells = ", num_cells, " and ", cells.numel(), " pixels, from ",
                    cells.min().item<int32_t>(), " to ", cells.max().item<int32_t>(), ".");
  const int32_t* colour_bin = colour_bins.data_ptr<int32_t>();
  TORCH_CHECK_VALUE(colour_bin[255] < 256 && all_between<int32_t>(colour_bins, 0, colour_bin[255] + 1),
                    "colour_bins must be from 0 to its last number, which must be below 256.");
  const int64_t num_colours = colour_bin[255] + 1;
  const int64_t num_edges = edges.size(1), num_bins = num_edges + 1;
  product({num_cells, channels, kOrientations, std::max(num_bins, num_colours)}, "The histograms");
  const at::Tensor colour = at::zeros({num_cells, channels * num_colours}, cells.options());
  const at::Tensor texture =
      at::zeros({num_cells, channels * kOrientations * num_bins}, cells.options());
  const uint8_t* values = image.data_ptr<uint8_t>();
  const int32_t* cell = cells.data_ptr<int32_t>();
  const int32_t* edge = edges.data_ptr<int32_t>();
  int32_t* in_colour = colour.data_ptr<int32_t>();
  int32_t* in_texture = texture.data_ptr<int32_t>();
  // every channel has columns of its own, so no two threads count in one place
  at::parallel_for(0, channels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      const Derivatives derivatives(values + c, height, width, channels, smooth, derive);
      for (int64_t p = 0; p < height * width; ++p) {
        const int64_t column = cell[p] * channels + c;
        ++in_colour[column * num_colours + colour_bin[values[p * channels + c]]];
        int32_t* counts = in_texture + column * kOrientations * num_bins;
        const int32_t x = derivatives.along_x[p], y = derivatives.along_y[p];
        // along the diagonals twice the steepest step, which does not fit 32 bits
        const int64_t responses[] = {x, y, int64_t{x} + y, int64_t{x} - y};
        for (int64_t i = 0; i < 4; ++i) {
          const int64_t response = std::abs(responses[i]);
          const int32_t* lowest = edge + i / 2 * num_edges;
          int64_t bin = 0;
          while (bin < num_edges && response >= lowest[bin]) ++bin;
          // of two opposite orientations one has no response
          const int64_t negative = responses[i] < 0;
          ++counts[(2 * i + negative) * num_bins + bin];
          ++counts[(2 * i + 1 - negative) * num_bins];
        }
      }
    }
  });
  return {colour, texture};
}

// Sum over the bins of min(a / size_a, b / size_b), times both sizes.
MMSEG_EXT_EACH_ISA uint64_t common(const uint32_t* a, const uint32_t* b, uint32_t size_a,
                                   uint32_t size_b, int64_t bins) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < bins; ++i) {
    const uint64_t from_a = uint64_t{a[i]} * size_b, from_b = uint64_t{b[i]} * size_a;
    sum += from_a < from_b ? from_a : from_b;
  }
  return sum;
}

// The histograms of all regions, one kind of them.
struct Histograms {
  Histograms(const at::Tensor& of_cells, int64_t size_of_first)
      : bins(of_cells.size(1)), rows((2 * of_cells.size(0) - 1) * bins) {
    const int32_t* counts = of_cells.data_ptr<int32_t>();
    std::copy(counts, counts + of_cells.numel(), rows.begin());
    for (int64_t i = 0; i < bins; ++i) per_pixel += counts[i];
    per_pixel /= size_of_first;
    TORCH_CHECK_VALUE(per_pixel > 0, "A histogram must count every pixel of a cell, got ",
                      at::sum(of_cells[0]).item<int64_t>(), " counts of ", size_of_first,
                      " pixels.");
  }
  const uint32_t* row(int64_t region) const { return &rows[region * bins]; }

  int64_t bins;
  std::vector<uint32_t> rows;
  int64_t per_pixel = 0;  // how often each pixel is counted
};

struct Region {
  int64_t size, x1, y1, x2, y2;
  bool alive;
  std::vector<int64_t> neighbours;  // among them regions that are no longer alive
};

struct Pair {
  double similarity;
  int64_t a, b;  // a < b
  // Whether the other is merged first: it is more similar or, equally similar, has lower numbers.
  bool operator<(const Pair& other) const {
    if (similarity != other.similarity) return similarity < other.similarity;
    return std::tie(a, b) > std::tie(other.a, other.b);
  }
};

Region merged(const Region& a, const Region& b) {
  return {a.size + b.size,
          std::min(a.x1, b.x1),
          std::min(a.y1, b.y1),
          std::max(a.x2, b.x2),
          std::max(a.y2, b.y2),
          true,
          {}};
}

// Cells that share pixels with an image of `num_pixels`: (S,) numbers of pixels, boxes (S, 4) x1,
// y1, x2, y2.
void check_cells(const at::Tensor& sizes, const at::Tensor& boxes, int64_t num_pixels) {
  // what is multiplied below are two numbers of pixels: no overflow
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  TORCH_CHECK_VALUE(sizes.numel() > 0, "There must be a cell.");
  TORCH_CHECK_VALUE(num_pixels >= 1 && num_pixels <= most, "num_pixels must be from 1 to ", most,
                    ", got ", num_pixels, ".");
  TORCH_CHECK_VALUE(all_between<int64_t>(sizes, 1, num_pixels + 1) &&
                        sizes.sum().item<int64_t>() <= num_pixels,
                    "Every cell must have a pixel, and all together not more than the image, ",
                    num_pixels, ".");
  bool ordered = all_between<int64_t>(boxes, 0, most);
  const int64_t* box = boxes.data_ptr<int64_t>();
  for (int64_t i = 0; i < boxes.numel(); i += 4)
    ordered &= box[i] <= box[i + 2] && box[i + 1] <= box[i + 3];
  TORCH_CHECK_VALUE(ordered, "boxes must be x1, y1, x2, y2 with 0 <= x1 <= x2 and 0 <= y1 <= y2.");
}

// Pairs (E, 2) of cells, the lower one first.
void check_pairs(const at::Tensor& pairs, int64_t num_cells) {
  bool ordered = all_between<int64_t>(pairs, 0, num_cells);
  const int64_t* pair = pairs.data_ptr<int64_t>();
  for (int64_t i = 0; i < pairs.numel(); i += 2) ordered &= pair[i] < pair[i + 1];
  TORCH_CHECK_VALUE(ordered, "pairs must be two cells each, the lower one first, of 0 to ",
                    num_cells - 1, ".");
}

// Histograms (S, bins) int32 each, sizes (S,), boxes (S, 4), pairs (E, 2) int64 -> (S - 1, 2) int64
at::Tensor merge_cells(at::TensorList histograms, const at::Tensor& sizes_,
                       const at::Tensor& boxes_, const at::Tensor& pairs_, int64_t num_pixels) {
  const at::Tensor sizes = checked(sizes_, "sizes", at::kLong, "(S,)", {kAny});
  const int64_t num_cells = sizes.numel();
  const at::Tensor boxes = checked(boxes_, "boxes", at::kLong, "(S, 4)", {num_cells, 4});
  const at::Tensor pairs = checked(pairs_, "pairs", at::kLong, "(E, 2)", {kAny, 2});
  check_cells(sizes, boxes, num_pixels);
  check_pairs(pairs, num_cells);
  const int64_t* size = sizes.data_ptr<int64_t>();
  const int64_t* box = boxes.data_ptr<int64_t>();
  const int64_t* pair = pairs.data_ptr<int64_t>();
  std::vector<Histograms> kinds;
  for (const at::Tensor& histogram : histograms)
    kinds.emplace_back(checked(histogram, "a histogram", at::kInt, "(S, bins)", {num_cells, kAny}),
                       size[0]);
  std::vector<Region> regions;
  regions.reserve(2 * num_cells - 1);
  for (int64_t i = 0; i < num_cells; ++i, box += 4)
    regions.push_back({size[i], box[0], box[1], box[2], box[3], true, {}});

  const double area = num_pixels;
  const auto similarity = [&](int64_t i, int64_t j) {
    const Region &a = regions[i], &b = regions[j], both = merged(a, b);
    double total = 0;
    for (const Histograms& kind : kinds)
      total += static_cast<double>(common(kind.row(i), kind.row(j), a.size, b.size, kind.bins)) /
               static_cast<double>(kind.per_pixel * a.size * b.size);
    total += static_cast<double>(num_pixels - both.size) / area;
    const int64_t box_size = (both.x2 - both.x1 + 1) * (both.y2 - both.y1 + 1);
    total += static_cast<double>(num_pixels - box_size + both.size) / area;
    return total;
  };

  std::priority_queue<Pair> queue;
  for (int64_t i = 0; i < pairs.size(0); ++i) {
    const int64_t a = pair[2 * i], b = pair[2 * i + 1];
    regions[a].neighbours.push_back(b);
    regions[b].neighbours.push_back(a);
    queue.push({similarity(a, b), a, b});
  }
  const at::Tensor merges = at::empty({num_cells - 1, 2}, pairs.options());
  int64_t* merge = merges.data_ptr<int64_t>();
  std::vector<int64_t> last_seen(2 * num_cells - 1, -1);
  while (!queue.empty()) {
    const Pair best = queue.top();
    queue.pop();
    if (!regions[best.a].alive || !regions[best.b].alive) continue;
    const int64_t region = regions.size();
    *merge++ = best.a;
    *merge++ = best.b;
    regions.push_back(merged(regions[best.a], regions[best.b]));
    for (Histograms& kind : kinds)
      for (int64_t i = 0; i < kind.bins; ++i)
        kind.rows[region * kind.bins + i] = kind.row(best.a)[i] + kind.row(best.b)[i];
    for (const int64_t child : {best.a, best.b}) regions[child].alive = false;
    for (const int64_t child : {best.a, best.b}) {
      for (const int64_t other : regions[child].neighbours) {
        if (!regions[other].alive || last_seen[other] == region) continue;
        last_seen[other] = region;
        regions[region].neighbours.push_back(other);
        regions[other].neighbours.push_back(region);
        queue.push({similarity(other, region), other, region});
      }
    }
  }
  TORCH_CHECK(merge == merges.data_ptr<int64_t>() + merges.numel(), "the cells are not connected");
  return merges;
}

}  // namespace
}  // namespace mmseg_ext

TORCH_LIBRARY_IMPL(mmseg_ext, CPU, m) {
  m.impl("cell_histograms", mmseg_ext::cell_histograms);
  m.impl("merge_cells", mmseg_ext::merge_cells);
}
