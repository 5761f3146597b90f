// mmseg_ext::gather_max and its backward on a CPU: row m of the output is the maximum over the rows
// indices[indptr[m]:indptr[m + 1]] of the source, element by element. gather_max_bins is the same
// from maps (N, D, h, w), whose positions are the rows, to the bins of regions (K, D, bins): a block
// is transposed as it is copied, and the output of a region while it is in the L1 cache. To transpose
// all of the output and of its gradient takes longer than the rest together.
//
// Both passes go through all rows for a block of columns before they take the next: that part of
// the source (and of its gradient) then stays in the L2 cache. It is copied first, so that its
// rows follow each other: in place, rows of 512 numbers would share an eighth of the cache's sets.
// Blocks of columns are what threads share out, so the backward adds up without atomics and in one
// order. The winner of an element is not stored but found again, as the first that equals the
// maximum: a quarter of the memory, and less time than to write and read it.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "checks.h"
#include "vectorize.h"

namespace mmseg_ext {
namespace {

// The compressed sparse rows of the index.
struct Rows {
  const int64_t* indptr;
  const int64_t* indices;
  int64_t count, columns;  // rows, and columns of the source
};

// Maps (count, columns, positions); positions are the rows of the source.
struct Maps {
  int64_t count, columns, positions;
};

#define MMSEG_EXT_KERNELS "gather_max_kernels.inc"
#include "each_isa.inc"

constexpr int64_t kWidths[] = {64, 16, 1};  // of a block

// Calls block(first column, number of columns, memory) for all blocks, on all threads. The memory
// has room for `count` rows of a block and is the thread's own.
template <typename T, typename Block>
void for_each_block(int64_t columns, int64_t count, const Block& block) {
  std::vector<std::pair<int64_t, int64_t>> blocks;
  for (int64_t first = 0; first < columns; first += blocks.back().second)
    for (int64_t width : kWidths)
      if (first + width <= columns) {
        blocks.emplace_back(first, width);
        break;
      }
  at::parallel_for(0, blocks.size(), 1, [&](int64_t begin, int64_t end) {
    const at::Tensor memory =
        at::empty({count * std::min(columns, kWidths[0])}, c10::CppTypeToScalarType<T>::value);
    for (int64_t b = begin; b < end; ++b)
      block(blocks[b].first, blocks[b].second, memory.data_ptr<T>());
  });
}

// Copies rows of `width` numbers that are a stride apart.
template <typename T>
void copy_rows(const T* from, int64_t from_stride, int64_t count, int64_t width, T* to,
               int64_t to_stride) {
  for (int64_t n = 0; n < count; ++n)
    std::memcpy(to + n * to_stride, from + n * from_stride, width * sizeof(T));
}

// An index, checked, and the tensors that own it.
struct Index {
  Index(const at::Tensor& indptr_, const at::Tensor& indices_)
      : indptr(checked(indptr_, "indptr", at::kLong, "(M + 1,)", {kAny})),
        indices(checked(indices_, "indices", at::kLong, "(nnz,)", {kAny})) {
    check_indptr(indptr, indices);
  }
  Rows rows(int64_t sources, int64_t columns) const {
    TORCH_CHECK_VALUE(all_between<int64_t>(indices, 0, sources),
                      "indices must be rows of the source, 0 to ", sources - 1, ".");
    return {indptr.data_ptr<int64_t>(), indices.data_ptr<int64_t>(), indptr.numel() - 1, columns};
  }
  const at::Tensor indptr, indices;
};

// A matrix (or maps) of the type of the source.
at::Tensor checked_source(const at::Tensor& source, const char* name, const char* shape,
                          at::IntArrayRef sizes) {
  check_floating(source, name);
  return checked(source, name, source.scalar_type(), shape, sizes);
}

// source (N, D), indptr (M + 1,), indices (nnz,) int64 -> (M, D)
at::Tensor gather_max(const at::Tensor& source_, const at::Tensor& indptr,
                      const at::Tensor& indices) {
  const at::Tensor source = checked_source(source_, "source", "(N, D)", {kAny, kAny});
  if (at::isReducedFloatingType(source.scalar_type()))  // exact: the order is the same in float32
    return gather_max(source.to(at::kFloat), indptr, indices).to(source.scalar_type());
  const Index index(indptr, indices);
  const Rows rows = index.rows(source.size(0), source.size(1));
  at::Tensor output = at::empty({rows.count, rows.columns}, source.options());
  prefer_huge_pages(output.data_ptr(), output.nbytes());
  AT_DISPATCH_FLOATING_TYPES(source.scalar_type(), "gather_max", [&] {
    const auto* from = source.data_ptr<scalar_t>();
    auto* to = output.data_ptr<scalar_t>();
    // the copy pays where rows are used more than once
    const int64_t copied = index.indices.numel() > source.size(0) ? source.size(0) : 0;
    const auto block = [&](int64_t first, int64_t width, scalar_t* copy) {
      copy_rows(from + first, rows.columns, copied, width, copy, width);
      MMSEG_EXT_CALL(forward, copied ? copy : from + first, copied ? width : rows.columns, rows,
                     first, width, to);
    };
    for_each_block<scalar_t>(rows.columns, copied, block);
  });
  return output;
}

// gradient and output (M, D) -> gradient with respect to the source
at::Tensor gather_max_backward(const at::Tensor& gradient, const at::Tensor& source_,
                               const at::Tensor& output_, const at::Tensor& indptr,
                               const at::Tensor& indices) {
  const at::Tensor source = checked_source(source_, "source", "(N, D)", {kAny, kAny});
  const int64_t sizes[] = {std::max<int64_t>(indptr.numel() - 1, 0), source.size(1)};
  const at::Tensor output = checked(output_, "output", source.scalar_type(), "(M, D)", sizes);
  const at::Tensor received = checked(gradient, "gradient", source.scalar_type(), "(M, D)", sizes);
  if (at::isReducedFloatingType(source.scalar_type()))  // summed in float32
    return gather_max_backward(received.to(at::kFloat), source.to(at::kFloat),
                               output.to(at::kFloat), indptr, indices)
        .to(source.scalar_type());
  const Index index(indptr, indices);
  const Rows rows = index.rows(source.size(0), source.size(1));
  const at::Tensor sum = at::empty_like(source);
  AT_DISPATCH_FLOATING_TYPES(source.scalar_type(), "gather_max_backward", [&] {
    const auto* from = source.data_ptr<scalar_t>();
    const auto* top = output.data_ptr<scalar_t>();
    const auto* rest = received.data_ptr<scalar_t>();
    auto* to = sum.data_ptr<scalar_t>();
    const int64_t count = source.size(0);
    const auto block = [&](int64_t first, int64_t width, scalar_t* copy) {
      scalar_t* added = copy + count * width;
      copy_rows(from + first, rows.columns, count, width, copy, width);
      std::fill_n(added, count * width, scalar_t(0));
      MMSEG_EXT_CALL(backward, copy, top, rest, rows, first, width, added);
      copy_rows(added, width, count, width, to + first, rows.columns);
    };
    for_each_block<scalar_t>(rows.columns, 2 * count, block);
  });
  return sum;
}

Maps maps_of(const at::Tensor& input) {
  return {input.size(0), input.size(1), input.size(2) * input.size(3)};
}

Rows bins_of(const Index& index, const Maps& maps, int64_t bins) {
  const Rows rows = index.rows(maps.count * maps.positions, maps.columns);
  TORCH_CHECK_VALUE(bins > 0 && rows.count % bins == 0, "indptr has ", rows.count,
                    " rows, which are not whole regions of ", bins, " bins.");
  product({maps.columns, bins}, "A region");  // without regions there may be any number of bins
  return rows;
}

at::Tensor checked_maps(const at::Tensor& input) {
  return checked_source(input, "input", "(N, D, h, w)", {kAny, kAny, kAny, kAny});
}

// input (N, D, h, w), indptr (K * bins + 1,), indices (nnz,) int64 -> (K, D, bins)
at::Tensor gather_max_bins(const at::Tensor& input_, const at::Tensor& indptr,
                           const at::Tensor& indices, int64_t bins) {
  const at::Tensor input = checked_maps(input_);
  if (at::isReducedFloatingType(input.scalar_type()))
    return gather_max_bins(input.to(at::kFloat), indptr, indices, bins).to(input.scalar_type());
  const Maps maps = maps_of(input);
  const Index index(indptr, indices);
  const Rows rows = bins_of(index, maps, bins);
  at::Tensor output = at::empty({rows.count / bins, rows.columns, bins}, input.options());
  if (input.numel() == 0) return output.zero_();  // else a loop over maps without a position
  prefer_huge_pages(output.data_ptr(), output.nbytes());
  AT_DISPATCH_FLOATING_TYPES(input.scalar_type(), "gather_max_bins", [&] {
    const auto* from = input.data_ptr<scalar_t>();
    auto* to = output.data_ptr<scalar_t>();
    const int64_t count = maps.count * maps.positions;
    const auto block = [&](int64_t first, int64_t width, scalar_t* copy) {
      scalar_t* tile = copy + count * width;
      MMSEG_EXT_CALL(maps_to_block, from, maps, first, width, copy);
      MMSEG_EXT_CALL(forward_bins, copy, rows, bins, first, width, tile, to);
    };
    for_each_block<scalar_t>(rows.columns, count + bins, block);
  });
  return output;
}

// gradient (K, D, bins) -> gradient with respect to the input
at::Tensor gather_max_bins_backward(const at::Tensor& gradient_, const at::Tensor& input_,
                                    const at::Tensor& indptr, const at::Tensor& indices) {
  const at::Tensor input = checked_maps(input_);
  const at::Tensor gradient = checked(gradient_, "gradient", input.scalar_type(), "(K, D, bins)",
                                      {kAny, input.size(1), kAny});
  if (at::isReducedFloatingType(input.scalar_type()))
    return gather_max_bins_backward(gradient.to(at::kFloat), input.to(at::kFloat), indptr, indices)
        .to(input.scalar_type());
  const Maps maps = maps_of(input);
  const int64_t bins = gradient.size(2);
  const Index index(indptr, indices);
  const Rows rows = bins_of(index, maps, bins);
  TORCH_CHECK_VALUE(gradient.size(0) == rows.count / bins, "gradient has ", gradient.size(0),
                    " regions, indptr has ", rows.count / bins, ".");
  const at::Tensor sum = at::empty_like(input);
  if (input.numel() == 0) return sum;
  AT_DISPATCH_FLOATING_TYPES(input.scalar_type(), "gather_max_bins_backward", [&] {
    const auto* from = input.data_ptr<scalar_t>();
    const auto* received = gradient.data_ptr<scalar_t>();
    auto* to = sum.data_ptr<scalar_t>();
    const int64_t count = maps.count * maps.positions;
    const auto block = [&](int64_t first, int64_t width, scalar_t* copy) {
      scalar_t *added = copy + count * width, *tile = added + count * width;
      MMSEG_EXT_CALL(maps_to_block, from, maps, first, width, copy);
      std::fill_n(added, count * width, scalar_t(0));
      MMSEG_EXT_CALL(backward_bins, copy, received, rows, bins, first, width, tile, added);
      MMSEG_EXT_CALL(block_to_maps, added, maps, first, width, to);
    };
    for_each_block<scalar_t>(rows.columns, 2 * count + bins, block);
  });
  return sum;
}

}  // namespace
}  // namespace mmseg_ext

TORCH_LIBRARY_IMPL(mmseg_ext, CPU, m) {
  m.impl("gather_max", mmseg_ext::gather_max);
  m.impl("gather_max_backward", mmseg_ext::gather_max_backward);
  m.impl("gather_max_bins", mmseg_ext::gather_max_bins);
  m.impl("gather_max_bins_backward", mmseg_ext::gather_max_bins_backward);
}
