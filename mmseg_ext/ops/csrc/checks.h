// What the kernels ask of their arguments. They read and write through raw pointers, and anyone can
// call torch.ops.mmseg_ext: a wrong argument must end in a sentence, not out of bounds.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <initializer_list>
#include <new>
#include <vector>

namespace mmseg_ext {

constexpr int64_t kAny = -1;  // a size that may be anything

// Gives a tensor contiguous (a copy only where it is not), if it has this type and these sizes.
// `shape` names the sizes in the sentence that refuses another one.
inline at::Tensor checked(const at::Tensor& tensor, const char* name, at::ScalarType type,
                          const char* shape, at::IntArrayRef sizes) {
  TORCH_CHECK_VALUE(tensor.defined() && tensor.device().is_cpu() && tensor.layout() == at::kStrided,
                    name, " must be a dense tensor on the CPU.");
  TORCH_CHECK_VALUE(tensor.scalar_type() == type, name, " must be of type ", type, ", got ",
                    tensor.scalar_type(), ".");
  const bool fits = tensor.dim() == static_cast<int64_t>(sizes.size()) &&
                    std::equal(sizes.begin(), sizes.end(), tensor.sizes().begin(),
                               [](int64_t want, int64_t is) { return want == kAny || want == is; });
  // where sizes follow from other arguments the sentence says which numbers they are
  TORCH_CHECK_VALUE(fits, name, " must be ", shape, ", which is ", sizes,
                    " here (-1: any size), got ", tensor.sizes(), ".");
  return tensor.contiguous();
}

// The same for floating-point numbers of a type that the kernels know.
inline void check_floating(const at::Tensor& tensor, const char* name) {
  const auto type = tensor.scalar_type();
  TORCH_CHECK_VALUE(type == at::kFloat || type == at::kDouble || type == at::kHalf ||
                        type == at::kBFloat16,
                    name, " must be float32, float64, float16 or bfloat16, got ", type, ".");
}

// More numbers than any machine has memory for. Twice as many do not overflow.
constexpr int64_t kMostNumbers = int64_t{1} << 48;

// The product of sizes, which does not overflow in any order.
inline int64_t product(std::initializer_list<int64_t> sizes, const char* what) {
  int64_t result = 1, others = 1;  // others: without the zeros
  bool fits = true;
  for (int64_t size : sizes) {
    fits = fits && size >= 0 && others <= kMostNumbers / std::max<int64_t>(size, 1);
    if (!fits) break;
    result *= size;
    others *= std::max<int64_t>(size, 1);
  }
  TORCH_CHECK_VALUE(fits, what, " would have the sizes ", at::IntArrayRef(sizes),
                    ", which must not be negative or larger than any memory.");
  return result;
}

// A vector, or a sentence where a wild argument asks for more than there is.
template <typename T>
std::vector<T> make_table(int64_t count, T value, const char* what) {
  try {
    return std::vector<T>(count, value);
  } catch (const std::bad_alloc&) {
    TORCH_CHECK(false, "There is not enough memory for ", count, " numbers: ", what, ".");
  }
}

// A compressed sparse row index: indptr (M + 1,) rises from 0 to the number of indices.
inline void check_indptr(const at::Tensor& indptr, const at::Tensor& indices) {
  const int64_t* begin = indptr.data_ptr<int64_t>();
  const int64_t count = indptr.numel();
  TORCH_CHECK_VALUE(count > 0 && begin[0] == 0 && begin[count - 1] == indices.numel() &&
                        std::is_sorted(begin, begin + count),
                    "indptr must rise from 0 to the number of indices, ", indices.numel(), ".");
}

// Whether all numbers, (n,) of int64 or int32, are from `least` to below `end`. In one pass.
template <typename T>
bool all_between(const at::Tensor& numbers, int64_t least, int64_t end) {
  if (numbers.numel() == 0) return true;
  const T* first = numbers.data_ptr<T>();
  const auto range = std::minmax_element(first, first + numbers.numel());
  return *range.first >= least && *range.second < end;
}

inline bool is_wrong_label(int64_t label, int64_t classes, int64_t ignore_index) {
  return label != ignore_index && (label < 0 || label >= classes);
}

// Refuses the first label that is neither a class nor ignored.
inline void check_labels(const at::Tensor& labels, int64_t classes, int64_t ignore_index) {
  const int64_t* begin = labels.data_ptr<int64_t>();
  const int64_t* end = begin + labels.numel();
  const int64_t* bad = std::find_if(
      begin, end, [&](int64_t label) { return is_wrong_label(label, classes, ignore_index); });
  if (bad == end) return;
  TORCH_CHECK_VALUE(false, "labels hold ", *bad, ", which is neither one of the ", classes,
                    " classes, 0 to ", classes - 1, ", nor ignore_index, ", ignore_index, ".");
}

inline void check_min_kept(c10::optional<int64_t> min_kept) {
  TORCH_CHECK_VALUE(!min_kept.has_value() || *min_kept >= 1,
                    "min_kept must be a whole number of at least 1, or None; got ",
                    min_kept.value_or(0), ".");
}

}  // namespace mmseg_ext
