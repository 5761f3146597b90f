// mmseg_ext::upsampled_cross_entropy and its backward on a CPU: the bootstrapped cross entropy of
// logits that are enlarged to the size of the labels.
//
// Enlarged logits exist only as rows of tiles, which stay in the L2 cache. Forward: the loss and code
// of each pixel, then the same selection as without enlargement. Backward: the probabilities of the
// kept pixels are computed again, class by class, by means of the losses. The gradient of a row of a
// tile is added to rows of the same width, one for each row of the small map that it was made of;
// when the sweep needs such a row no more, its sum is brought to the small map's width. So the dear
// part of the enlargement and of its adjoint, along the columns, is done for the rows of the small
// map only. Tiles share positions of the small map: each has a gradient of its own, and these are
// added in a fixed order, whatever the number of threads.
#include <torch/library.h>

#include "enlarged.h"
#include "pixel_losses.h"

namespace mmseg_ext {
namespace {

using c10::optional;

// The small logits, (N, C, h, w) contiguous, and the labels, (N, H, W).
template <typename A>
struct Problem {
  Problem(const at::Tensor& logits, const at::Tensor& labels, const Axis<A>& rows_,
          const Axis<A>& columns_)
      : classes(logits.size(1)),
        x(logits.data_ptr<A>()),
        label(labels.data_ptr<int64_t>()),
        rows(rows_),
        columns(columns_),
        tiles(logits.size(0), rows.out, columns.out, kTileHeight, tile_width(classes)) {}
  const A* image(const Tile& tile) const {
    return x + tile.image * classes * rows.in * columns.in;
  }
  int64_t pixel(const Tile& tile, int64_t y) const {
    return (tile.image * rows.out + y) * columns.out + tile.left;
  }
  int64_t classes;
  const A* x;
  const int64_t* label;
  Axis<A> rows, columns;
  Tiling tiles;
};

// What a thread needs for a tile.
template <typename A>
struct Workspace {
  Workspace(const Problem<A>& p, bool with_gradient)
      : width(tile_width(p.classes)),
        wide(p.rows.taps, p.classes, width),
        slopes(with_gradient ? p.rows.taps : 0, p.classes, width),
        row(with_gradient ? width : p.classes * width),
        top(width),
        sum(width),
        target(width) {}
  const int64_t width;
  RowRing<A> wide, slopes;      // logits, and gradients that are being added up
  std::vector<A> row;           // forward all classes, backward one
  // Of each column. Forward: the maximum and the sum of exponentials; backward: the factor of the
  // gradient and the log of that sum.
  std::vector<A> top, sum;
  std::vector<int32_t> target;  // the class of a kept pixel
};

// Makes a row of a tile and its maxima over the classes.
template <typename A>
MMSEG_EXT_INLINE void make_row(const Problem<A>& p, const Tile& tile, int64_t y, Workspace<A>& w) {
  const int64_t count = tile.count();
  widen_rows(p.image(tile), p.classes, p.rows, p.columns, tile, y, w.width, w.wide);
  A* __restrict top = w.top.data();
  for (int64_t c = 0; c < p.classes; ++c) {
    A* __restrict row = w.row.data() + c * w.width;
    blend(w.wide, p.rows, y, c * w.width, count, row);
    if (c == 0) {
      for (int64_t j = 0; j < count; ++j) top[j] = row[j];
    } else {
      for (int64_t j = 0; j < count; ++j) top[j] = row[j] > top[j] ? row[j] : top[j];
    }
  }
}

struct Counts {
  int64_t wrong = 0, correct = 0;  // labels that are no class, and those with the largest logit
};

// Losses and codes of a tile.
template <typename A>
MMSEG_EXT_INLINE Counts forward_tile(const Problem<A>& p, const Tile& tile, int64_t ignore_index,
                                     A limit, A* loss, uint8_t* code, Workspace<A>& w) {
  Counts counts;
  w.wide.forget();
  for (int64_t y = tile.top; y < tile.bottom; ++y) {
    make_row(p, tile, y, w);
    sum_exponentials<false>(w.row.data(), w.top.data(), p.classes, tile.count(), w.width,
                            w.sum.data());
    const int64_t at = p.pixel(tile, y);
    counts.wrong += losses_and_codes(w.row.data(), w.top.data(), w.sum.data(), p.label + at,
                                     p.classes, tile.count(), w.width, ignore_index, limit,
                                     loss + at, code + at, &counts.correct);
  }
  return counts;
}

// The part of the small map that a tile is made of, and its gradient there: (C, height, width).
template <typename A>
struct Part {
  Part(const Problem<A>& p, const Tile& tile) {
    const auto y = std::minmax_element(p.rows.first + tile.top, p.rows.first + tile.bottom);
    const auto x = std::minmax_element(p.columns.first + tile.left, p.columns.first + tile.right);
    top = *y.first;
    left = *x.first;
    height = *y.second + p.rows.taps - top;
    width = *x.second + p.columns.taps - left;
  }
  int64_t top, left, height, width;
  A* gradient = nullptr;
};

// narrow_row for kBlock classes, whose sums do not wait for each other.
template <int kBlock, typename A>
MMSEG_EXT_INLINE void narrow_classes(const Axis<A>& columns, const Tile& tile, const A* from,
                                     int64_t from_class, A* to, int64_t to_class) {
  const int32_t* first = columns.first + tile.left;
  for (int64_t k = 0; k < columns.taps; ++k) {
    const A* weight = columns.weights + k * columns.out + tile.left;
    for (int64_t j = 0; j < tile.count();) {
      const int64_t i = first[j];
      A sums[kBlock] = {};  // of the columns that lie between the same two
      for (; j < tile.count() && first[j] == i; ++j)
        for (int b = 0; b < kBlock; ++b) sums[b] += weight[j] * from[b * from_class + j];
      for (int b = 0; b < kBlock; ++b) to[b * to_class + i + k] += sums[b];
    }
  }
}

// Adds the summed gradients of a row, as wide as the tile, to the row of the small map.
template <typename A>
MMSEG_EXT_INLINE void narrow_row(const Problem<A>& p, const Tile& tile, int64_t y,
                                 const Part<A>& part, Workspace<A>& w) {
  const A* from = w.slopes[y];
  A* to = part.gradient + (y - part.top) * part.width - part.left;
  const int64_t to_class = part.height * part.width;
  constexpr int kBlock = 8;
  int64_t c = 0;
  for (; c + kBlock <= p.classes; c += kBlock)
    narrow_classes<kBlock>(p.columns, tile, from + c * w.width, w.width, to + c * to_class,
                           to_class);
  for (; c < p.classes; ++c)
    narrow_classes<1>(p.columns, tile, from + c * w.width, w.width, to + c * to_class, to_class);
}

constexpr int kLargeLoss = 64;

// Log of the sum of exponentials of column j of row y.
template <typename A>
A log_sum_of(const Problem<A>& p, int64_t y, int64_t j, Workspace<A>& w) {
  std::vector<A> logits(p.classes);
  for (int64_t c = 0; c < p.classes; ++c) blend(w.wide, p.rows, y, c * w.width + j, 1, &logits[c]);
  const A top = *std::max_element(logits.begin(), logits.end());
  A sum = 0;
  for (const A logit : logits) sum += std::exp(logit - top);
  return top + std::log(sum);
}

// Of row y of a tile: the factor of each pixel, 0 where it is not kept; its class; and the log of its
// sum of exponentials. That is the loss plus the logit of the class, but for a large loss, whose last
// digit is too coarse.
template <typename A>
MMSEG_EXT_INLINE void read_pixels(const Problem<A>& p, const Tile& tile, int64_t y, const A* loss,
                                  const bool* kept, const A* class_weight, A factor,
                                  Workspace<A>& w) {
  const int64_t count = tile.count(), at = p.pixel(tile, y);
  // No branches: which pixels are kept is not to be guessed by the processor.
  const auto* keep = reinterpret_cast<const uint8_t*>(kept + at);
  for (int64_t j = 0; j < count; ++j) {
    w.target[j] = static_cast<int32_t>(p.label[at + j] & -static_cast<int64_t>(keep[j]));
    w.top[j] = masked(factor, keep[j]);
    w.sum[j] = masked(loss[at + j], keep[j]);
  }
  if (class_weight != nullptr)
    for (int64_t j = 0; j < count; ++j)
      w.top[j] = masked(factor * class_weight[w.target[j]], keep[j]);
  uint8_t any_large = 0;
  for (int64_t j = 0; j < count; ++j) any_large |= !(w.sum[j] <= kLargeLoss);
  for (int64_t k = 0; k < p.rows.taps; ++k) {
    const A weight = p.rows.weight(k, y);
    if (weight == 0) continue;
    const A* row = w.wide[p.rows.first[y] + k];
    for (int64_t j = 0; j < count; ++j) w.sum[j] += weight * row[w.target[j] * w.width + j];
  }
  for (int64_t j = 0; any_large && j < count; ++j)
    if (keep[j] && !(loss[at + j] <= kLargeLoss)) w.sum[j] = log_sum_of(p, y, j, w);
}

// (softmax - one-hot) * factor of a pixel and a class; 0 where it is not kept, whatever the logit.
template <typename A>
MMSEG_EXT_INLINE A slope_of(A logit, A log_sum, bool is_target, A factor) {
  const A slope = exp_nonpositive(logit - log_sum) - (is_target ? A(1) : A(0));
  return factor == 0 ? A(0) : slope * factor;
}

// Adds the gradient of a class of row y to the rows that it was made of.
template <typename A>
MMSEG_EXT_INLINE void add_slopes(const Problem<A>& p, int64_t y, int32_t c, int64_t count,
                                 Workspace<A>& w) {
  const A* __restrict factors = w.top.data();
  const A* __restrict log_sum = w.sum.data();
  const int32_t* __restrict target = w.target.data();
  const int64_t first = p.rows.first[y], offset = c * w.width;
  const A upper = p.rows.weight(0, y), lower = p.rows.taps == 2 ? p.rows.weight(1, y) : A(0);
  if (upper != 0 && lower != 0) {  // as nearly always: no number leaves the registers
    const A* __restrict above = w.wide[first] + offset;
    const A* __restrict below = w.wide[first + 1] + offset;
    A* __restrict to_above = w.slopes[first] + offset;
    A* __restrict to_below = w.slopes[first + 1] + offset;
    for (int64_t j = 0; j < count; ++j) {
      const A slope = slope_of(upper * above[j] + lower * below[j], log_sum[j], target[j] == c,
                               factors[j]);
      to_above[j] += upper * slope;
      to_below[j] += lower * slope;
    }
    return;
  }
  A* __restrict row = w.row.data();
  blend(w.wide, p.rows, y, offset, count, row);
  for (int64_t j = 0; j < count; ++j)
    row[j] = slope_of(row[j], log_sum[j], target[j] == c, factors[j]);
  for (int64_t k = 0; k < p.rows.taps; ++k) {
    const A weight = p.rows.weight(k, y);
    if (weight == 0) continue;
    A* __restrict to = w.slopes[first + k] + offset;
    for (int64_t j = 0; j < count; ++j) to[j] += weight * row[j];
  }
}

// The gradient of a tile, on its part.
template <typename A>
MMSEG_EXT_INLINE void backward_tile(const Problem<A>& p, const Tile& tile, const A* loss,
                                    const bool* kept, const A* class_weight, A factor,
                                    const Part<A>& part, Workspace<A>& w) {
  const int64_t count = tile.count();
  w.wide.forget();
  w.slopes.forget();
  for (int64_t y = tile.top; y < tile.bottom; ++y) {
    if (std::memchr(kept + p.pixel(tile, y), 1, count) == nullptr) continue;
    widen_rows(p.image(tile), p.classes, p.rows, p.columns, tile, y, w.width, w.wide);
    read_pixels(p, tile, y, loss, kept, class_weight, factor, w);

    for (int64_t k = 0; k < p.rows.taps; ++k) {
      const int64_t i = p.rows.first[y] + k;
      int64_t& owner = w.slopes.owner[w.slopes.slot(i)];
      if (p.rows.weight(k, y) == 0 || owner == i) continue;
      if (owner >= 0) narrow_row(p, tile, owner, part, w);
      owner = i;
      std::fill_n(w.slopes[i], w.slopes.size, A(0));
    }
    for (int32_t c = 0; c < p.classes; ++c) add_slopes(p, y, c, count, w);
  }
  for (int64_t i : w.slopes.owner)
    if (i >= 0) narrow_row(p, tile, i, part, w);
}

// One version of each for both types, as the attribute does not go with templates.
#define MMSEG_EXT_TILES(A)                                                                        \
  MMSEG_EXT_EACH_ISA Counts forward(const Problem<A>& p, const Tile& tile, int64_t ignore_index,  \
                                    A limit, A* loss, uint8_t* code, Workspace<A>& w) {           \
    return forward_tile(p, tile, ignore_index, limit, loss, code, w);                             \
  }                                                                                               \
  MMSEG_EXT_EACH_ISA void backward(const Problem<A>& p, const Tile& tile, const A* loss,          \
                                   const bool* kept, const A* class_weight, A factor,             \
                                   const Part<A>& part, Workspace<A>& w) {                        \
    backward_tile(p, tile, loss, kept, class_weight, factor, part, w);                            \
  }
MMSEG_EXT_TILES(float)
MMSEG_EXT_TILES(double)
#undef MMSEG_EXT_TILES

// The tensors of a call as the kernels read them. The small logits are brought to the type of the
// sums: they are few, so a copy costs little.
struct Arguments {
  Arguments(const at::Tensor& logits_, const at::Tensor& labels_, const at::Tensor& first_row,
            const at::Tensor& row_weight, const at::Tensor& first_column,
            const at::Tensor& column_weight, const optional<at::Tensor>& class_weight_) {
    check_floating(logits_, "logits");
    TORCH_CHECK_VALUE(logits_.dim() == 4 && logits_.device().is_cpu(),
                      "logits must be (N, C, h, w) on the CPU, got ", logits_.sizes(), ".");
    logits = logits_.to(at::toOpMathType(logits_.scalar_type())).contiguous();
    labels = readable_map(labels_, "labels", at::kLong, {logits.size(0), kAny, kAny});
    class_weight = readable_weights(class_weight_, logits);
    is_empty = logits.numel() == 0 || labels.numel() == 0;
    if (is_empty) return;
    const auto type = logits.scalar_type();
    rows = readable_axis(first_row, row_weight, logits.size(2), labels.size(1), type);
    columns = readable_axis(first_column, column_weight, logits.size(3), labels.size(2), type);
  }
  template <typename A>
  Problem<A> problem() const {
    return {logits, labels, Axis<A>(rows.first, rows.second, logits.size(2)),
            Axis<A>(columns.first, columns.second, logits.size(3))};
  }
  template <typename A>
  const A* weights() const {
    return class_weight.has_value() ? class_weight->data_ptr<A>() : nullptr;
  }
  at::Tensor logits, labels;
  optional<at::Tensor> class_weight;
  std::pair<at::Tensor, at::Tensor> rows, columns;
  bool is_empty;
};

// -> what is selected; for each image the number of pixels whose label has the largest logit; the
// loss of each pixel (N, H, W), any number where the label is no class
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>
upsampled_cross_entropy(
    const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& first_row,
    const at::Tensor& row_weight, const at::Tensor& first_column, const at::Tensor& column_weight,
    const optional<at::Tensor>& class_weight, optional<double> thresh, optional<int64_t> min_kept,
    bool per_image, int64_t ignore_index) {
  check_min_kept(min_kept);
  const Arguments given(logits, labels, first_row, row_weight, first_column, column_weight,
                        class_weight);
  const Selected selected = make_selected(given.labels, given.logits.scalar_type());
  const at::Tensor& kept = std::get<1>(selected);
  const at::Tensor num_correct = at::zeros_like(std::get<3>(selected));
  const at::Tensor losses = at::empty(given.labels.sizes(), given.logits.options());
  const auto results = std::tuple_cat(selected, std::make_tuple(num_correct, losses));
  if (given.is_empty) {
    kept.zero_();
    return results;
  }
  AT_DISPATCH_FLOATING_TYPES(losses.scalar_type(), "upsampled_cross_entropy", [&] {
    const auto p = given.problem<scalar_t>();
    scalar_t* loss = losses.data_ptr<scalar_t>();
    std::atomic<int64_t> wrong{0};
    std::vector<std::atomic<int64_t>> correct(logits.size(0));
    at::parallel_for(0, p.tiles.count(), 1, [&](int64_t begin, int64_t end) {
      Workspace<scalar_t> workspace(p, false);
      for (int64_t i = begin; i < end; ++i) {
        const Counts counts =
            forward(p, p.tiles[i], ignore_index, static_cast<scalar_t>(thresh.value_or(0)), loss,
                    static_cast<uint8_t*>(kept.data_ptr()), workspace);
        wrong += counts.wrong;
        correct[p.tiles[i].image] += counts.correct;
      }
    });
    std::copy(correct.begin(), correct.end(), num_correct.data_ptr<int64_t>());
    if (wrong > 0) check_labels(given.labels, p.classes, ignore_index);
    select_and_sum(loss, p.label, given.weights<scalar_t>(), thresh, min_kept, per_image, selected);
  });
  return results;
}

// gradient (N,) with respect to the sums -> with respect to the small logits
at::Tensor upsampled_cross_entropy_backward(
    const at::Tensor& gradient_, const at::Tensor& logits, const at::Tensor& labels,
    const at::Tensor& first_row, const at::Tensor& row_weight, const at::Tensor& first_column,
    const at::Tensor& column_weight, const optional<at::Tensor>& class_weight,
    const at::Tensor& kept_, const at::Tensor& losses_) {
  const Arguments given(logits, labels, first_row, row_weight, first_column, column_weight,
                        class_weight);
  const at::Tensor kept = readable_map(kept_, "kept", at::kBool, given.labels.sizes());
  const at::Tensor losses =
      readable_map(losses_, "loss", given.logits.scalar_type(), given.labels.sizes());
  const at::Tensor factors =
      checked(gradient_, "gradient", given.logits.scalar_type(), "(N,)", {logits.size(0)});
  const at::Tensor gradient = at::zeros_like(given.logits);
  if (given.is_empty) return gradient.to(logits.scalar_type());
  AT_DISPATCH_FLOATING_TYPES(gradient.scalar_type(), "upsampled_cross_entropy_backward", [&] {
    const auto p = given.problem<scalar_t>();
    const int64_t count = p.tiles.count(), pixels = kept.numel();
    const auto* byte = static_cast<const uint8_t*>(kept.data_ptr());
    std::atomic<bool> wrong{false};
    at::parallel_for(0, pixels, kGrain, [&](int64_t begin, int64_t end) {
      if (!can_be_kept(p.label + begin, byte + begin, end - begin, p.classes)) wrong = true;
    });
    check_kept(!wrong, p.classes);

    std::vector<Part<scalar_t>> parts;
    std::vector<int64_t> offsets(1, 0);
    for (int64_t i = 0; i < count; ++i) {
      parts.emplace_back(p, p.tiles[i]);
      offsets.push_back(offsets.back() + p.classes * parts[i].height * parts[i].width);
    }
    const at::Tensor numbers = at::zeros({offsets.back()}, gradient.options());
    at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      Workspace<scalar_t> workspace(p, true);
      for (int64_t i = begin; i < end; ++i) {
        parts[i].gradient = numbers.data_ptr<scalar_t>() + offsets[i];
        backward(p, p.tiles[i], losses.data_ptr<scalar_t>(), kept.data_ptr<bool>(),
                 given.weights<scalar_t>(), factors.data_ptr<scalar_t>()[p.tiles[i].image],
                 parts[i], workspace);
      }
    });
    at::parallel_for(0, p.classes, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < count; ++i) {
        const Part<scalar_t>& part = parts[i];
        for (int64_t c = begin; c < end; ++c) {
          const int64_t map = (p.tiles[i].image * p.classes + c) * p.rows.in;
          for (int64_t y = 0; y < part.height; ++y) {
            const scalar_t* from = part.gradient + (c * part.height + y) * part.width;
            scalar_t* to = gradient.data_ptr<scalar_t>() +
                           (map + part.top + y) * p.columns.in + part.left;
            for (int64_t j = 0; j < part.width; ++j) to[j] += from[j];
          }
        }
      }
    });
  });
  return gradient.to(logits.scalar_type());
}

}  // namespace
}  // namespace mmseg_ext

TORCH_LIBRARY_IMPL(mmseg_ext, CPU, m) {
  m.impl("upsampled_cross_entropy", mmseg_ext::upsampled_cross_entropy);
  m.impl("upsampled_cross_entropy_backward", mmseg_ext::upsampled_cross_entropy_backward);
}
