// mmseg_ext::semantic_edge_distance on a CPU: how far softmax(logits) is from the labels in the
// features of a network of 3x3 convolutions, and the gradient of that.
//
// The images are cut into tiles, which the threads share out. A tile is swept from top to bottom,
// and of each map there are only the rows that the next steps need: they stay in the L2 cache,
// and no map of features is ever whole. For row y of the gradient, L being the number of layers and
// `reach` 2 L (without a gradient: L), a step makes
//
//   row y + reach                      of the probabilities,
//   rows y + reach - l, l = 1, ..., L  of the features of layer l, of both maps,
//   rows y + l, l = L, ..., 1          of the gradient before the activation of layer l,
//   row y                              of the gradient of the logits.
//
// Tiles overlap by the reach of the convolutions, and each computes what it needs there.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "checks.h"
#include "vectorize.h"

namespace mmseg_ext {
namespace {

using c10::optional;

constexpr int64_t kLanes = 8;          // channels of a group
constexpr int64_t kSlack = 24;         // pixels that a convolution may write behind the last
constexpr int64_t kHeight = 96;        // of a tile, at most
constexpr int64_t kCache = 768 << 10;  // of the L2 cache, what the maps of a tile may take

int64_t groups_of(int64_t channels) { return (channels + kLanes - 1) / kLanes; }

// A convolution. Its weights (3, 3, rows, kLanes * groups), of which the first `in` rows count, are
// `tap` numbers apart from one of the nine positions to the next.
template <typename T>
struct Filter {
  int64_t in, groups, tap;
  const T *weights, *bias;
};

template <typename T>
struct Layer {
  Filter<T> forward, backward;
  int64_t channels;  // of the output
  T factor;
  bool is_softmax;
};

struct Strides {
  int64_t image, channel, row, column;
};

template <typename T>
struct Problem {
  std::vector<Layer<T>> layers;  // up to the last that counts
  int64_t classes, height, width, ignore_index, reach;
  bool activated;
  const T* logits;
  Strides logits_at;
  const int64_t* labels;
  const T* pixel_weight;  // or null: all 1
  T* gradient;            // or null
  Strides gradient_at;
  T* map;  // of the distances, or null
};

// Rows top to bottom - 1, columns left to right - 1.
struct Tile {
  int64_t image, top, bottom, left, right;
};

// The last rows of a map. A row is (groups, columns, kLanes): the channels of a group are a vector,
// and the next pixel's are always as far away.
template <typename T>
struct Ring {
  Ring(int64_t count, int64_t size)
      : count(count),
        size(size),
        memory(at::zeros({count * size}, c10::CppTypeToScalarType<T>::value)),
        data(memory.template data_ptr<T>()) {}
  T* operator[](int64_t y) const { return data + (y % count + count) % count * size; }
  int64_t count, size;
  at::Tensor memory;
  T* data;
};

// The rows of a thread's tile. Element l of a list belongs to layer l, 0 to the input.
template <typename T>
struct Workspace {
  Workspace(const Problem<T>& problem, int64_t width)
      : columns(width + 2 * (problem.reach + 1) + kSlack),
        codes(std::max<int64_t>(problem.layers.size() + 1, 3), columns),
        weight(1, columns),
        distance(1, columns),
        planes(1, 0) {
    const int64_t last = problem.layers.size();
    int64_t most = 0;
    for (int64_t l = 0; l <= last; ++l) {
      const int64_t channels = l ? problem.layers[l - 1].channels : problem.classes;
      const int64_t size = groups_of(channels) * kLanes * columns;
      // the next layer needs three rows; the way back needs them again
      const int64_t next = l < last ? 3 : 1;
      const int64_t back = problem.gradient ? problem.reach - 2 * l + 1 : 1;
      ours.emplace_back(std::max(next, back), size);
      own.emplace_back(l ? back : 0, size);
      theirs.emplace_back(l ? next : 0, size);
      change.emplace_back(l ? 3 : 1, size);
      same.emplace_back(l ? 3 : 0, columns);
      constants.emplace_back(1, (problem.classes + 1) * groups_of(channels) * kLanes);
      known.emplace_back(1, problem.classes + 1);
      most = std::max(most, channels);
    }
    planes = Ring<T>(1, most * columns);
  }
  int64_t columns;
  Ring<int32_t> codes;                // labels; C where ignored, C + 1 beyond the image
  Ring<T> weight, distance;           // of the pixels of a row
  Ring<T> planes;                     // a row as (channels, columns)
  std::vector<Ring<T>> ours, theirs;  // features of the prediction and of the labels
  std::vector<Ring<T>> own, change;   // gradients: of the layer's own distance; of all
  std::vector<Ring<uint8_t>> same;    // whether all labels that a feature depends on are one
  std::vector<Ring<T>> constants;     // then the feature before the activation is this, by label,
  std::vector<Ring<uint8_t>> known;   // once it is known
};

#define MMSEG_EXT_KERNELS "semantic_edge_distance_kernels.inc"
#include "each_isa.inc"

// Lays out the weights (3, 3, in, out) of a convolution. Two rows of zeros follow, for the labels
// that are no class. `kept` owns the result.
template <typename T>
Filter<T> pack(const at::Tensor& weights, const at::Tensor& bias, std::vector<at::Tensor>& kept) {
  const int64_t in = weights.size(2), groups = groups_of(weights.size(3));
  const int64_t missing = groups * kLanes - weights.size(3);
  kept.push_back(at::constant_pad_nd(weights, {0, missing, 0, 2}).contiguous());
  kept.push_back(at::constant_pad_nd(bias, {0, missing}).contiguous());
  return {in, groups, (in + 2) * groups * kLanes, kept.end()[-2].template data_ptr<T>(),
          kept.end()[-1].template data_ptr<T>()};
}

Strides strides_of(const at::Tensor& map) {
  return {map.stride(0), map.stride(1), map.stride(2), map.stride(3)};
}

// Tiles of about the same size, whose rows fit the cache.
template <typename T>
std::vector<Tile> cut(const Problem<T>& problem, int64_t images) {
  const auto size_of = [&](int64_t width) {
    const Workspace<T> work(problem, width);
    int64_t size = 0;
    for (const auto* rings : {&work.ours, &work.theirs, &work.own, &work.change})
      for (const Ring<T>& ring : *rings) size += ring.count * ring.size;
    return size * static_cast<int64_t>(sizeof(T));
  };
  const int64_t fixed = size_of(0), each = (size_of(64) - fixed) / 64;
  const int64_t widest = std::max<int64_t>(64, (kCache - fixed) / each);
  const int64_t bands = (problem.height + kHeight - 1) / kHeight;
  const int64_t stripes = (problem.width + widest - 1) / widest;
  std::vector<Tile> tiles;
  for (int64_t n = 0; n < images; ++n)
    for (int64_t b = 0; b < bands; ++b)
      for (int64_t s = 0; s < stripes; ++s)
        tiles.push_back({n, problem.height * b / bands, problem.height * (b + 1) / bands,
                         problem.width * s / stripes, problem.width * (s + 1) / stripes});
  return tiles;
}

// Layers that fit each other and a map of so many classes.
void check_layers(at::TensorList weights, at::TensorList biases, size_t count, int64_t classes,
                  at::ScalarType type) {
  TORCH_CHECK_VALUE(weights.size() == count && biases.size() == count, "There must be a weight, a "
                    "bias and a factor for each layer, got ", weights.size(), ", ", biases.size(),
                    " and ", count, ".");
  for (size_t l = 0; l < count; ++l) {
    checked(weights[l], "a layer's weight", type, "(D, D of the layer before, 3, 3)",
            {kAny, l ? weights[l - 1].size(0) : classes, 3, 3});
    TORCH_CHECK_VALUE(weights[l].size(0) > 0, "A layer must have an output channel.");
    checked(biases[l], "a layer's bias", type, "(D,)", {weights[l].size(0)});
  }
}

// logits (N, C, H, W), labels (N, H, W), pixel_weight (N, H, W); weights and biases of all layers,
// of the accumulation type -> the weighted sum of the distances of all pixels, or their map without
// weights; the gradient of the sum, empty if not asked for
std::tuple<at::Tensor, at::Tensor> semantic_edge_distance(
    const at::Tensor& logits, const at::Tensor& labels_, const optional<at::Tensor>& pixel_weight_,
    at::TensorList weights, at::TensorList biases, at::ArrayRef<double> factors, bool activated,
    int64_t ignore_index, bool reduced, bool with_gradient) {
  check_floating(logits, "logits");
  TORCH_CHECK_VALUE(logits.dim() == 4 && logits.device().is_cpu(),
                    "logits must be (N, C, H, W) on the CPU, got ", logits.sizes(), ".");
  if (at::isReducedFloatingType(logits.scalar_type())) {
    const auto result =
        semantic_edge_distance(logits.to(at::kFloat), labels_, pixel_weight_, weights, biases,
                               factors, activated, ignore_index, reduced, with_gradient);
    return {std::get<0>(result), std::get<1>(result).to(logits.scalar_type())};
  }
  TORCH_CHECK_VALUE(at::isIntegralType(labels_.scalar_type(), /*includeBool=*/true),
                    "labels must be integers, got ", labels_.scalar_type(), ".");
  const int64_t sizes[] = {logits.size(0), logits.size(2), logits.size(3)};
  const at::Tensor labels =
      checked(labels_, "labels", labels_.scalar_type(), "(N, H, W)", sizes).to(at::kLong);
  at::Tensor pixel_weight;
  if (pixel_weight_)
    pixel_weight =
        checked(*pixel_weight_, "pixel_weight", logits.scalar_type(), "(N, H, W)", sizes);
  check_layers(weights, biases, factors.size(), logits.size(1), logits.scalar_type());
  check_labels(labels, logits.size(1), ignore_index);
  at::Tensor value = at::zeros(reduced ? at::IntArrayRef() : labels.sizes(), logits.options());
  at::Tensor gradient = at::empty({0}, logits.options());
  if (with_gradient) {
    const bool last =
        !logits.is_contiguous() && logits.is_contiguous(at::MemoryFormat::ChannelsLast);
    gradient = at::empty(logits.sizes(), logits.options(),
                         last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
    prefer_huge_pages(gradient.data_ptr(), gradient.nbytes());
  }
  size_t used = factors.size();
  while (used > 0 && factors[used - 1] == 0) --used;
  if (used == 0 || logits.numel() == 0) return {value, gradient.zero_()};

  AT_DISPATCH_FLOATING_TYPES(logits.scalar_type(), "semantic_edge_distance", [&] {
    using T = scalar_t;
    std::vector<at::Tensor> kept;
    Problem<T> problem{{},
                       logits.size(1),
                       logits.size(2),
                       logits.size(3),
                       ignore_index,
                       static_cast<int64_t>(with_gradient ? 2 * used : used),
                       activated,
                       logits.data_ptr<T>(),
                       strides_of(logits),
                       labels.data_ptr<int64_t>(),
                       pixel_weight_ ? pixel_weight.data_ptr<T>() : nullptr,
                       with_gradient ? gradient.data_ptr<T>() : nullptr,
                       with_gradient ? strides_of(gradient) : Strides{},
                       reduced ? nullptr : value.data_ptr<T>()};
    for (size_t l = 0; l < used; ++l) {
      const at::Tensor& weight = weights[l];
      // the gradient goes back through the transposed convolution: turned by half a turn
      const at::Tensor turned = weight.flip({2, 3}).permute({2, 3, 0, 1});
      problem.layers.push_back(
          {pack<T>(weight.permute({2, 3, 1, 0}), biases[l], kept),
           pack<T>(turned, at::zeros({weight.size(1)}, weight.options()), kept), weight.size(0),
           static_cast<T>(factors[l]), l + 1 == factors.size()});
    }
    const std::vector<Tile> tiles = cut(problem, logits.size(0));
    int64_t widest = 0;
    for (const Tile& tile : tiles) widest = std::max(widest, tile.right - tile.left);
    std::vector<double> sums(tiles.size());  // added in one order for any number of threads
    at::parallel_for(0, tiles.size(), 1, [&](int64_t begin, int64_t end) {
      Workspace<T> work(problem, widest);
      for (int64_t t = begin; t < end; ++t)
        sums[t] = MMSEG_EXT_CALL(sweep, problem, tiles[t], work);
    });
    if (!reduced) return;
    double sum = 0;
    for (double part : sums) sum += part;
    value.fill_(sum);
  });
  return {value, gradient};
}

}  // namespace
}  // namespace mmseg_ext

TORCH_LIBRARY_IMPL(mmseg_ext, CPU, m) {
  m.impl("semantic_edge_distance", mmseg_ext::semantic_edge_distance);
}
