// mmseg_ext::hard_pixel_mask on a CPU: which pixels a bootstrapped loss keeps, given how hard each
// is.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <atomic>

#include "checks.h"
#include "hardest.h"

namespace mmseg_ext {
namespace {

// difficulty (N, ...) float or double, valid (N, ...) bool -> bool (N, ...)
at::Tensor hard_pixel_mask(const at::Tensor& difficulty_, const at::Tensor& valid_,
                           c10::optional<double> thresh, c10::optional<int64_t> min_kept,
                           bool per_image) {
  check_min_kept(min_kept);
  const at::Tensor difficulty =
      checked(difficulty_, "difficulty", difficulty_.scalar_type(), "(N, ...)", difficulty_.sizes());
  const at::Tensor valid = checked(valid_, "valid", at::kBool, "(N, ...)", difficulty.sizes());
  TORCH_CHECK_VALUE(!per_image || difficulty.dim() > 0,
                    "difficulty must be (N, ...) where per_image is True, got a single number.");
  at::Tensor mask = at::empty_like(valid);
  if (difficulty.numel() == 0) return mask;
  const int64_t groups = per_image ? difficulty.size(0) : 1;
  const int64_t size = difficulty.numel() / groups;
  // not as bool, which may hold any byte if it was made from other memory
  const auto* counts = static_cast<const uint8_t*>(valid.data_ptr());
  auto* codes = static_cast<uint8_t*>(mask.data_ptr());
  AT_DISPATCH_FLOATING_TYPES(difficulty.scalar_type(), "hard_pixel_mask", [&] {
    const auto* values = difficulty.data_ptr<scalar_t>();
    const auto limit = static_cast<scalar_t>(thresh.value_or(0));
    for (int64_t offset = 0; offset < groups * size; offset += size) {
      std::atomic<int64_t> num_hard{0};
      at::parallel_for(offset, offset + size, kGrain, [&](int64_t begin, int64_t end) {
        int64_t hard = 0;
        for (int64_t i = begin; i < end; ++i) {
          codes[i] = (counts[i] != 0) * (values[i] <= limit ? kEasy : kHard);  // NaN is hard
          hard += codes[i] == kHard;
        }
        num_hard += hard;
      });
      select(values + offset, codes + offset, size, thresh.has_value(), num_hard, min_kept);
    }
  });
  return mask;
}

}  // namespace
}  // namespace mmseg_ext

TORCH_LIBRARY_IMPL(mmseg_ext, CPU, m) { m.impl("hard_pixel_mask", mmseg_ext::hard_pixel_mask); }
