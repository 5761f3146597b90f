// What cross entropies of pixels share: the softmax of neighbouring pixels in rows, one for each
// class, and the selection among all pixels.
#pragma once

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>

#include <atomic>
#include <tuple>
#include <vector>

#include "checks.h"
#include "hardest.h"

namespace mmseg_ext {

// sum[j]: the sum of exp(rows[c][j] - top[j]) over the classes. If `keep_exp`, rows end as these.
template <bool keep_exp, typename A>
MMSEG_EXT_INLINE void sum_exponentials(A* __restrict rows, const A* __restrict top, int64_t classes,
                                       int64_t count, int64_t width, A* __restrict sum) {
  for (int64_t j = 0; j < count; ++j) sum[j] = 0;
  for (int64_t c = 0; c < classes; ++c) {
    A* row = rows + c * width;
    for (int64_t j = 0; j < count; ++j) {
      const A e = exp_nonpositive(row[j] - top[j]);
      if (keep_exp) row[j] = e;
      sum[j] += e;
    }
  }
}

// Loss and code of `count` neighbouring pixels, from their logits, the maxima of these and the sums
// of exponentials; returns how many labels are no class. `correct`, if given, counts the labels that
// have the largest logit.
template <typename A>
MMSEG_EXT_INLINE int64_t losses_and_codes(const A* __restrict rows, const A* __restrict top,
                                          const A* __restrict sum, const int64_t* label,
                                          int64_t classes, int64_t count, int64_t width,
                                          int64_t ignore_index, A limit, A* __restrict loss,
                                          uint8_t* __restrict code,
                                          int64_t* __restrict correct = nullptr) {
  int64_t wrong = 0;
  for (int64_t j = 0; j < count; ++j) {
    const bool is_class = label[j] >= 0 && label[j] < classes;
    wrong += !is_class && label[j] != ignore_index;
    code[j] = label[j] != ignore_index && is_class;
    loss[j] = rows[(code[j] ? label[j] : 0) * width + j] - top[j];  // not positive
  }
  if (correct != nullptr) {
    int64_t hits = 0;
    for (int64_t j = 0; j < count; ++j) hits += (loss[j] == 0) & code[j];
    *correct += hits;
  }
  for (int64_t j = 0; j < count; ++j) {
    const A probability = exp_nonpositive(loss[j]) / sum[j];
    code[j] = code[j] * (probability >= limit ? kEasy : kHard);
    loss[j] = log_normal(sum[j]) - loss[j];
  }
  return wrong;
}

// One of the maps (N, H, W) of labels or kept pixels.
inline at::Tensor readable_map(const at::Tensor& map, const char* name, at::ScalarType type,
                               at::IntArrayRef sizes) {
  return checked(map, name, type, "(N, H, W)", sizes);
}

inline c10::optional<at::Tensor> readable_weights(const c10::optional<at::Tensor>& class_weight,
                                                  const at::Tensor& logits) {
  if (!class_weight.has_value()) return class_weight;
  return checked(*class_weight, "class_weight", at::toOpMathType(logits.scalar_type()), "(C,)",
                 {logits.size(1)});
}

// Whether the kept pixels among `count` have classes. A bool that was made from other memory may
// hold any byte, and these are counted.
MMSEG_EXT_EACH_ISA static inline bool can_be_kept(const int64_t* label, const uint8_t* kept,
                                                  int64_t count, int64_t classes) {
  uint8_t wrong = 0;
  for (int64_t j = 0; j < count; ++j)
    wrong |= (kept[j] > 1) | (kept[j] & (static_cast<uint64_t>(label[j]) >= uint64_t(classes)));
  return wrong == 0;
}

inline void check_kept(bool is_right, int64_t classes) {
  TORCH_CHECK_VALUE(is_right, "kept must be True only where the label is one of the ", classes,
                    " classes.");
}

// What a forward pass gives: for each image the weighted sum of the kept pixels' losses; the kept
// pixels (N, H, W); for each image the numbers of kept and of valid pixels.
using Selected = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

// Room for `Selected`, all numbers 0.
inline Selected make_selected(const at::Tensor& labels, at::ScalarType type) {
  const auto counts = labels.options();
  return {at::zeros({labels.size(0)}, counts.dtype(type)),
          at::empty(labels.sizes(), counts.dtype(at::kBool)), at::zeros({labels.size(0)}, counts),
          at::zeros({labels.size(0)}, counts)};
}

// The sum of the losses of `count` pixels whose code is 1, each times its weight; of others it may
// be NaN. No branch, and no single sum that all additions wait for.
template <bool is_weighted, typename A>
MMSEG_EXT_INLINE double sum_of_kept(const A* loss, const int64_t* label, const uint8_t* code,
                                    const A* weight, int64_t count) {
  constexpr int kSums = 8;
  double sums[kSums] = {};
  const auto add = [&](int64_t i, double& sum) {
    const A factor = is_weighted ? weight[label[i] & -static_cast<int64_t>(code[i])] : A(1);
    sum += masked(factor * loss[i], code[i]);
  };
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums)
    for (int b = 0; b < kSums; ++b) add(i + b, sums[b]);
  for (; i < count; ++i) add(i, sums[0]);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}
#define MMSEG_EXT_KEPT_SUM(A)                                                                     \
  MMSEG_EXT_EACH_ISA static inline double kept_sum(const A* loss, const int64_t* label,           \
                                                   const uint8_t* code, const A* weight,          \
                                                   int64_t count) {                               \
    return weight == nullptr ? sum_of_kept<false>(loss, label, code, weight, count)               \
                             : sum_of_kept<true>(loss, label, code, weight, count);               \
  }
MMSEG_EXT_KEPT_SUM(float)
MMSEG_EXT_KEPT_SUM(double)
#undef MMSEG_EXT_KEPT_SUM

// Selects among losses (N, H, W) by their codes, which lie where the kept pixels will.
template <typename A>
void select_and_sum(const A* loss, const int64_t* label, const A* weight,
                    c10::optional<double> thresh, c10::optional<int64_t> min_kept, bool per_image,
                    const Selected& selected) {
  const at::Tensor &sums = std::get<0>(selected), &kept = std::get<1>(selected);
  const int64_t images = kept.size(0), pixels = kept.size(1) * kept.size(2);
  auto* code = static_cast<uint8_t*>(kept.data_ptr());
  std::vector<int64_t> hard(images);
  for (int64_t n = 0; n < images; ++n) {
    const uint8_t* first = code + n * pixels;
    std::atomic<int64_t> valid{0}, over{0};
    at::parallel_for(0, pixels, kGrain, [&](int64_t begin, int64_t end) {
      const CodeCounts counts = count_codes(first + begin, end - begin);
      valid += counts.valid;
      over += counts.hard;
    });
    std::get<3>(selected).data_ptr<int64_t>()[n] = valid;
    hard[n] = over;
  }
  if (per_image) {
    for (int64_t n = 0; n < images; ++n)
      select(loss + n * pixels, code + n * pixels, pixels, thresh.has_value(), hard[n], min_kept);
  } else {
    int64_t all = 0;
    for (int64_t h : hard) all += h;
    select(loss, code, images * pixels, thresh.has_value(), all, min_kept);
  }

  for (int64_t n = 0; n < images; ++n) {
    // sums of fixed chunks, so that the result does not depend on the threads
    const int64_t chunks = (pixels + kGrain - 1) / kGrain;
    std::vector<double> sum(chunks);
    std::vector<int64_t> number(chunks);
    at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        const int64_t first = n * pixels + k * kGrain;
        const int64_t count = std::min(kGrain, pixels - k * kGrain);
        sum[k] = kept_sum(loss + first, label + first, code + first, weight, count);
        number[k] = count_codes(code + first, count).valid;
      }
    });
    double all = 0;
    for (double s : sum) all += s;
    sums.data_ptr<A>()[n] = static_cast<A>(all);
    for (int64_t k : number) std::get<2>(selected).data_ptr<int64_t>()[n] += k;
  }
}

}  // namespace mmseg_ext
