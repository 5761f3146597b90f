// mmseg_ext::bootstrapped_cross_entropy and its backward on a CPU.
//
// Forward: one pass over the logits, in blocks of neighbouring pixels that stay in the cache, gives
// the loss of each pixel and whether it is over the threshold; the selection works on these two
// maps. Backward: the probabilities of the kept pixels are computed again, which is cheaper than to
// have stored them, and nothing else than the gradient is allocated.
#include <torch/library.h>

#include "pixel_losses.h"

namespace mmseg_ext {
namespace {

using c10::optional;

// Where the logit of class c at pixel p of an image lies: c * by_class + p * by_pixel.
struct Layout {
  int64_t classes, pixels, by_class, by_pixel;
};

// The rows of one block, one for each class, then the maximum, the sum of exponentials and the kept
// pixels. Reused for all blocks of a thread.
template <typename A>
struct Tile {
  explicit Tile(const Layout& layout)
      // 256 KiB of floats at most, so that the second look finds them in the L2 cache
      : width(std::max<int64_t>(64, std::min<int64_t>(1024, (1 << 16) / layout.classes / 64 * 64))),
        rows(layout.classes * width),
        top(width),
        sum(width),
        index(width) {}
  const int64_t width;
  std::vector<A> rows, top, sum;
  std::vector<int32_t> index;
};

// rows[c][j] = logit of class c at pixel index[j] (at pixel j without an index); top[j], sum[j]:
// the maximum over the classes and the sum of exp(logit - maximum). If `keep_exp`, rows end as
// these.
template <bool keep_exp, typename T, typename A>
MMSEG_EXT_INLINE void softmax_sums(const T* __restrict x, const Layout layout, const int32_t* index,
                                   int64_t count, int64_t width, A* __restrict rows,
                                   A* __restrict top, A* __restrict sum) {
  if (index == nullptr && layout.by_pixel != 1) {  // channels last: read as it lies
    for (int64_t j = 0; j < count; ++j)
      for (int64_t c = 0; c < layout.classes; ++c)
        rows[c * width + j] = A(x[j * layout.by_pixel + c]);
  }
  for (int64_t c = 0; c < layout.classes; ++c) {
    A* row = rows + c * width;
    const T* from = x + c * layout.by_class;
    if (index != nullptr) {
      for (int64_t j = 0; j < count; ++j) row[j] = A(from[index[j] * layout.by_pixel]);
    } else if (layout.by_pixel == 1) {
      for (int64_t j = 0; j < count; ++j) row[j] = A(from[j]);
    }
    if (c == 0) {
      for (int64_t j = 0; j < count; ++j) top[j] = row[j];
    } else {
      for (int64_t j = 0; j < count; ++j) top[j] = row[j] > top[j] ? row[j] : top[j];
    }
  }
  sum_exponentials<keep_exp>(rows, top, layout.classes, count, width, sum);
}

// Loss and code of `count` neighbouring pixels; returns how many labels are no class.
template <typename T, typename A>
MMSEG_EXT_INLINE int64_t forward_block(const T* x, const Layout layout, const int64_t* label,
                                       int64_t count, Tile<A>& tile, int64_t ignore_index, A limit,
                                       A* __restrict loss, uint8_t* __restrict code) {
  A* rows = tile.rows.data();
  A* top = tile.top.data();
  A* sum = tile.sum.data();
  softmax_sums<false>(x, layout, nullptr, count, tile.width, rows, top, sum);
  return losses_and_codes(rows, top, sum, label, layout.classes, count, tile.width, ignore_index,
                          limit, loss, code);
}

// The gradient of `count` neighbouring pixels: (softmax - one-hot) * factor where kept, else 0.
template <typename T, typename A>
MMSEG_EXT_INLINE void backward_block(const T* x, const Layout layout, const int64_t* label,
                                     const bool* kept, int64_t count, Tile<A>& tile,
                                     const A* class_weight, A factor, T* gradient) {
  A* rows = tile.rows.data();
  A* top = tile.top.data();
  A* sum = tile.sum.data();
  int32_t* index = tile.index.data();
  int64_t num_kept = 0;
  for (int64_t j = 0; j < count; ++j) {
    index[num_kept] = j;
    num_kept += kept[j];
  }
  if (layout.by_pixel == 1) {
    for (int64_t c = 0; c < layout.classes; ++c)
      std::memset(static_cast<void*>(gradient + c * layout.by_class), 0, count * sizeof(T));
  } else {
    std::memset(static_cast<void*>(gradient), 0, count * layout.classes * sizeof(T));
  }
  if (num_kept == 0) return;

  softmax_sums<true>(x, layout, index, num_kept, tile.width, rows, top, sum);
  for (int64_t j = 0; j < num_kept; ++j) {
    const int64_t target = label[index[j]];
    top[j] = factor * (class_weight == nullptr ? A(1) : class_weight[target]);
    rows[target * tile.width + j] -= sum[j];  // (p - 1) * sum
    sum[j] = top[j] / sum[j];
  }
  for (int64_t c = 0; c < layout.classes; ++c) {
    T* to = gradient + c * layout.by_class;
    for (int64_t j = 0; j < num_kept; ++j)
      to[index[j] * layout.by_pixel] = T(rows[c * tile.width + j] * sum[j]);
  }
}

// One version of each block for every type, as the attribute does not go with templates.
#define MMSEG_EXT_BLOCKS(T, A)                                                                    \
  MMSEG_EXT_EACH_ISA int64_t forward(const T* x, const Layout layout, const int64_t* label,       \
                                     int64_t count, Tile<A>& tile, int64_t ignore_index, A limit, \
                                     A* loss, uint8_t* code) {                                    \
    return forward_block(x, layout, label, count, tile, ignore_index, limit, loss, code);         \
  }                                                                                               \
  MMSEG_EXT_EACH_ISA void backward(const T* x, const Layout layout, const int64_t* label,         \
                                   const bool* kept, int64_t count, Tile<A>& tile,                \
                                   const A* class_weight, A factor, T* gradient) {                \
    backward_block(x, layout, label, kept, count, tile, class_weight, factor, gradient);          \
  }
MMSEG_EXT_BLOCKS(float, float)
MMSEG_EXT_BLOCKS(double, double)
MMSEG_EXT_BLOCKS(c10::BFloat16, float)
MMSEG_EXT_BLOCKS(c10::Half, float)
#undef MMSEG_EXT_BLOCKS

// Contiguous and channels-last tensors are read where they lie, others are copied first.
at::Tensor readable(const at::Tensor& logits) {
  check_floating(logits, "logits");
  TORCH_CHECK_VALUE(logits.dim() == 4 && logits.device().is_cpu(),
                    "logits must be (N, C, H, W) on the CPU, got ", logits.sizes(), ".");
  return logits.is_contiguous(at::MemoryFormat::ChannelsLast) ? logits : logits.contiguous();
}

// Of the labels and the kept pixels.
std::array<int64_t, 3> map_sizes(const at::Tensor& logits) {
  return {logits.size(0), logits.size(2), logits.size(3)};
}

Layout layout_of(const at::Tensor& logits) {
  const int64_t classes = logits.size(1), pixels = logits.size(2) * logits.size(3);
  if (logits.is_contiguous()) return {classes, pixels, pixels, 1};
  return {classes, pixels, 1, classes};
}

// Calls block(image, first pixel, count, tile) for all blocks of all images.
template <typename A, typename Block>
void for_each_block(const Layout& layout, int64_t images, const Block& block) {
  const int64_t width = Tile<A>(layout).width;
  const int64_t in_image = (layout.pixels + width - 1) / width;
  at::parallel_for(0, images * in_image, 8, [&](int64_t begin, int64_t end) {
    Tile<A> tile(layout);
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b % in_image * width;
      block(b / in_image, first, std::min(width, layout.pixels - first), tile);
    }
  });
}

// logits (N, C, H, W), labels (N, H, W) int64, class_weight (C,) of the accumulation type
Selected bootstrapped_cross_entropy(const at::Tensor& logits_, const at::Tensor& labels_,
                                    const optional<at::Tensor>& class_weight_,
                                    optional<double> thresh, optional<int64_t> min_kept,
                                    bool per_image, int64_t ignore_index) {
  check_min_kept(min_kept);
  const at::Tensor logits = readable(logits_);
  const at::Tensor labels = readable_map(labels_, "labels", at::kLong, map_sizes(logits));
  const optional<at::Tensor> class_weight = readable_weights(class_weight_, logits);
  const Layout layout = layout_of(logits);
  const auto accumulate = at::toOpMathType(logits.scalar_type());
  const Selected selected = make_selected(labels, accumulate);
  const at::Tensor& kept = std::get<1>(selected);
  if (logits.numel() == 0) {
    kept.zero_();
    return selected;
  }

  const at::Tensor losses = at::empty(labels.sizes(), logits.options().dtype(accumulate));
  const int64_t* label = labels.data_ptr<int64_t>();
  auto* code = static_cast<uint8_t*>(kept.data_ptr());
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kBFloat16, at::kHalf, logits.scalar_type(), "bootstrapped_cross_entropy", [&] {
        using A = at::opmath_type<scalar_t>;
        const scalar_t* x = logits.data_ptr<scalar_t>();
        A* loss = losses.data_ptr<A>();
        const A limit = static_cast<A>(thresh.value_or(0));
        std::atomic<int64_t> wrong{0};
        for_each_block<A>(
            layout, logits.size(0), [&](int64_t n, int64_t first, int64_t count, Tile<A>& tile) {
              const int64_t p = n * layout.pixels + first;
              wrong +=
                  forward(x + n * layout.pixels * layout.classes + first * layout.by_pixel, layout,
                          label + p, count, tile, ignore_index, limit, loss + p, code + p);
            });
        if (wrong > 0) check_labels(labels, layout.classes, ignore_index);
        select_and_sum(loss, label, class_weight.has_value() ? class_weight->data_ptr<A>() : nullptr,
                       thresh, min_kept, per_image, selected);
      });
  return selected;
}

// gradient (N,) with respect to the sums -> with respect to the logits, channels last if they are
at::Tensor bootstrapped_cross_entropy_backward(const at::Tensor& gradient_,
                                               const at::Tensor& logits_, const at::Tensor& labels_,
                                               const optional<at::Tensor>& class_weight_,
                                               const at::Tensor& kept_) {
  const at::Tensor logits = readable(logits_);
  const at::Tensor labels = readable_map(labels_, "labels", at::kLong, map_sizes(logits));
  const at::Tensor kept = readable_map(kept_, "kept", at::kBool, map_sizes(logits));
  const optional<at::Tensor> class_weight = readable_weights(class_weight_, logits);
  const at::Tensor factors = checked(
      gradient_, "gradient", at::toOpMathType(logits.scalar_type()), "(N,)", {logits.size(0)});
  const Layout layout = layout_of(logits);
  at::Tensor gradient = at::empty_like(logits);
  if (logits.numel() == 0) return gradient;
  prefer_huge_pages(gradient.data_ptr(), gradient.nbytes());
  const int64_t* label = labels.data_ptr<int64_t>();
  const bool* keep = kept.data_ptr<bool>();
  const auto* byte = static_cast<const uint8_t*>(kept.data_ptr());
  std::atomic<bool> wrong{false};
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kBFloat16, at::kHalf, logits.scalar_type(), "bootstrapped_cross_entropy_backward", [&] {
        using A = at::opmath_type<scalar_t>;
        const scalar_t* x = logits.data_ptr<scalar_t>();
        scalar_t* to = gradient.data_ptr<scalar_t>();
        const A* factor = factors.data_ptr<A>();
        const A* weight = class_weight.has_value() ? class_weight->data_ptr<A>() : nullptr;
        for_each_block<A>(
            layout, logits.size(0), [&](int64_t n, int64_t first, int64_t count, Tile<A>& tile) {
              const int64_t p = n * layout.pixels + first;
              const int64_t at = n * layout.pixels * layout.classes + first * layout.by_pixel;
              // here the labels are about to be read anyway
              if (!can_be_kept(label + p, byte + p, count, layout.classes)) {
                wrong = true;
                return;
              }
              backward(x + at, layout, label + p, keep + p, count, tile, weight, factor[n],
                       to + at);
            });
      });
  check_kept(!wrong, layout.classes);
  return gradient;
}

}  // namespace
}  // namespace mmseg_ext

TORCH_LIBRARY_IMPL(mmseg_ext, CPU, m) {
  m.impl("bootstrapped_cross_entropy", mmseg_ext::bootstrapped_cross_entropy);
  m.impl("bootstrapped_cross_entropy_backward", mmseg_ext::bootstrapped_cross_entropy_backward);
}
