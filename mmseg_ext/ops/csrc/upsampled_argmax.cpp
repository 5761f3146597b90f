// mmseg_ext::upsampled_argmax on a CPU: the label map of enlarged logits, which exist only as rows of
// tiles (enlarged.h).
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include "enlarged.h"

namespace mmseg_ext {
namespace {

// What a thread needs for a tile.
template <typename A>
struct Workspace {
  Workspace(int64_t taps, int64_t classes)
      : width(tile_width(classes)), wide(taps, classes, width), row(width), top(width), best(width) {}
  const int64_t width;
  RowRing<A> wide;
  std::vector<A> row, top;
  std::vector<int32_t> best;
};

// The labels of a tile.
template <typename A, typename Label>
MMSEG_EXT_INLINE void label_tile(const A* image, int64_t classes, const Axis<A>& rows,
                                 const Axis<A>& columns, const Tile& tile, Label* labels,
                                 Workspace<A>& w) {
  const int64_t count = tile.count();
  A* __restrict row = w.row.data();
  A* __restrict top = w.top.data();
  int32_t* __restrict best = w.best.data();
  w.wide.forget();
  for (int64_t y = tile.top; y < tile.bottom; ++y) {
    widen_rows(image, classes, rows, columns, tile, y, w.width, w.wide);
    blend(w.wide, rows, y, 0, count, top);
    std::fill_n(best, count, 0);
    for (int32_t c = 1; c < classes; ++c) {
      blend(w.wide, rows, y, c * w.width, count, row);
      for (int64_t j = 0; j < count; ++j) {
        // as argmax of PyTorch: the first of equal ones, and a NaN is more than any number
        const bool is_more = !(row[j] <= top[j]) & (top[j] == top[j]);
        top[j] = is_more ? row[j] : top[j];
        best[j] = is_more ? c : best[j];
      }
    }
    Label* to = labels + (tile.image * rows.out + y) * columns.out + tile.left;
    for (int64_t j = 0; j < count; ++j) to[j] = static_cast<Label>(best[j]);
  }
}

// One version for all types, as the attribute does not go with templates.
#define MMSEG_EXT_LABEL(A, Label)                                                        \
  MMSEG_EXT_EACH_ISA void label(const A* image, int64_t classes, const Axis<A>& rows,    \
                                const Axis<A>& columns, const Tile& tile, Label* labels, \
                                Workspace<A>& w) {                                       \
    label_tile(image, classes, rows, columns, tile, labels, w);                          \
  }
MMSEG_EXT_LABEL(float, uint8_t)
MMSEG_EXT_LABEL(float, int16_t)
MMSEG_EXT_LABEL(float, int32_t)
MMSEG_EXT_LABEL(double, uint8_t)
MMSEG_EXT_LABEL(double, int16_t)
MMSEG_EXT_LABEL(double, int32_t)
#undef MMSEG_EXT_LABEL

// logits (N, C, h, w) -> (N, H, W): uint8 up to 256 classes, int16 up to 32,768, else int32
at::Tensor upsampled_argmax(const at::Tensor& logits_, const at::Tensor& first_row,
                            const at::Tensor& row_weight, const at::Tensor& first_column,
                            const at::Tensor& column_weight) {
  check_floating(logits_, "logits");
  TORCH_CHECK_VALUE(logits_.dim() == 4 && logits_.device().is_cpu() && logits_.size(1) > 0 &&
                        first_row.dim() == 1 && first_column.dim() == 1,
                    "logits must be (N, C, h, w) on the CPU with a class, got ", logits_.sizes(),
                    ", and first_row and first_column vectors.");
  const at::Tensor logits = logits_.to(at::toOpMathType(logits_.scalar_type())).contiguous();
  const int64_t images = logits.size(0), classes = logits.size(1);
  const at::Tensor labels = at::empty(
      {images, first_row.size(0), first_column.size(0)},
      logits.options().dtype(classes <= 256     ? at::kByte
                             : classes <= 32768 ? at::kShort
                                                : at::kInt));
  if (labels.numel() == 0) return labels;
  const auto type = logits.scalar_type();
  const auto down =
      readable_axis(first_row, row_weight, logits.size(2), first_row.size(0), type);
  const auto across =
      readable_axis(first_column, column_weight, logits.size(3), first_column.size(0), type);
  AT_DISPATCH_FLOATING_TYPES(type, "upsampled_argmax", [&] {
    const Axis<scalar_t> rows(down.first, down.second, logits.size(2));
    const Axis<scalar_t> columns(across.first, across.second, logits.size(3));
    const Tiling tiles(images, rows.out, columns.out, kTileHeight, tile_width(classes));
    const scalar_t* x = logits.data_ptr<scalar_t>();
    const auto run = [&](auto* to) {
      at::parallel_for(0, tiles.count(), 1, [&](int64_t begin, int64_t end) {
        Workspace<scalar_t> workspace(rows.taps, classes);
        for (int64_t i = begin; i < end; ++i)
          label(x + tiles[i].image * classes * rows.in * columns.in, classes, rows, columns,
                tiles[i], to, workspace);
      });
    };
    if (classes <= 256)
      run(labels.data_ptr<uint8_t>());
    else if (classes <= 32768)
      run(labels.data_ptr<int16_t>());
    else
      run(labels.data_ptr<int32_t>());
  });
  return labels;
}

}  // namespace
}  // namespace mmseg_ext

TORCH_LIBRARY_IMPL(mmseg_ext, CPU, m) {
  m.impl("upsampled_argmax", mmseg_ext::upsampled_argmax);
}
