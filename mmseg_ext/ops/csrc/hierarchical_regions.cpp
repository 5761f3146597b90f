// mmseg_ext::cell_histograms and mmseg_ext::merge_cells on a CPU. Histograms and what two of them
// have in common are whole numbers, and the few floating-point operations are those of the
// reference in the same order, so both find exactly the same regions.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdlib>
#include <queue>
#include <tuple>
#include <vector>

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

std::tuple<at::Tensor, at::Tensor> cell_histograms(const at::Tensor& image, const at::Tensor& cells,
                                                   int64_t num_cells, const at::Tensor& colour_bins,
                                                   const at::Tensor& smooth,
                                                   const at::Tensor& derive,
                                                   const at::Tensor& edges) {
  constexpr int64_t kOrientations = 8;
  const int64_t height = image.size(0), width = image.size(1), channels = image.size(2);
  const int32_t* colour_bin = colour_bins.data_ptr<int32_t>();
  const int64_t num_colours = colour_bin[255] + 1;
  const int64_t num_edges = edges.size(1), num_bins = num_edges + 1;
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
        const int32_t responses[] = {x, y, x + y, x - y};
        for (int64_t i = 0; i < 4; ++i) {
          const int32_t response = std::abs(responses[i]);
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

at::Tensor merge_cells(at::TensorList histograms, const at::Tensor& sizes, const at::Tensor& boxes,
                       const at::Tensor& pairs, int64_t num_pixels) {
  const int64_t num_cells = sizes.size(0);
  const int64_t* size = sizes.data_ptr<int64_t>();
  const int64_t* box = boxes.data_ptr<int64_t>();
  const int64_t* pair = pairs.data_ptr<int64_t>();
  std::vector<Histograms> kinds;
  for (const at::Tensor& histogram : histograms) kinds.emplace_back(histogram, size[0]);
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
