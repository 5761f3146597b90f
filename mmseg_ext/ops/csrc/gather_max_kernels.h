// The kernels of gather_max.cpp, which compiles this file for each instruction set (each_isa.h).

// What is computed at once: one number, or a register full of them. GCC's and clang's vectors are
// arrays that stay in registers, which an array that the vectorizer works on does not.
template <typename T, int count>
struct Pack {
  typedef T Type __attribute__((vector_size(count * sizeof(T))));
  static MMSEG_EXT_INLINE Type select(decltype(Type() == Type()) mask, Type a, Type b) {
    return mask ? a : b;
  }
};
template <typename T>
struct Pack<T, 1> {
  typedef T Type;
  static MMSEG_EXT_INLINE T select(bool mask, T a, T b) { return mask ? a : b; }
};

template <typename V, typename T>
MMSEG_EXT_INLINE V load(const T* from) {
  V value;
  std::memcpy(&value, from, sizeof(V));
  return value;
}

// Asks for `width` numbers that are needed later: a processor does not foresee jumps as wide as
// those from row to row.
template <int64_t width, int write, typename T>
MMSEG_EXT_INLINE void prefetch(const T* part) {
  for (int64_t i = 0; i < width; i += 64 / sizeof(T)) __builtin_prefetch(part + i, write, 2);
}

// Where the block's part of a row of the output is that is some rows ahead.
template <typename T>
MMSEG_EXT_INLINE const T* ahead(const T* matrix, const Rows rows, int64_t row, int64_t first) {
  return matrix + std::min(row + 8, rows.count - 1) * rows.columns + first;
}

// The maximum of row m of the index, in packs * count columns, of a source whose rows are `stride`
// apart.
template <int packs, int count, typename T>
MMSEG_EXT_INLINE void row_maximum(const T* source, int64_t stride, const Rows rows, int64_t m,
                                  typename Pack<T, count>::Type* top) {
  using P = Pack<T, count>;
  using V = typename P::Type;
  const int64_t begin = rows.indptr[m], end = rows.indptr[m + 1];
  for (int i = 0; i < packs; ++i) top[i] = V{};  // 0 for a row without members
  if (begin < end) std::memcpy(top, source + rows.indices[begin] * stride, packs * sizeof(V));
  for (int64_t k = begin + 1; k < end; ++k) {
    const T* from = source + rows.indices[k] * stride;
    for (int i = 0; i < packs; ++i) {
      const V value = load<V>(from + i * count);
      const V larger = P::select(value > top[i], value, top[i]);
      top[i] = P::select(value != value, value, larger);  // NaN is a maximum
    }
  }
}

// Adds the gradient `rest` of row m to that of the winners, the first of the source rows that are
// equal to the maximum `top`. Source and its gradient `to` are blocks of packs * count columns.
template <int packs, int count, typename T>
MMSEG_EXT_INLINE void give_to_winners(const T* source, const Rows rows, int64_t m,
                                      const typename Pack<T, count>::Type* top,
                                      typename Pack<T, count>::Type* rest, T* to) {
  using P = Pack<T, count>;
  using V = typename P::Type;
  const V zero = {};
  for (int64_t k = rows.indptr[m]; k < rows.indptr[m + 1]; ++k) {
    const int64_t offset = rows.indices[k] * packs * count;
    for (int i = 0; i < packs; ++i) {
      const V value = load<V>(source + offset + i * count);
      const auto wins = (value == top[i]) | ((value != value) & (top[i] != top[i]));
      const V sum = load<V>(to + offset + i * count) + P::select(wins, rest[i], zero);
      std::memcpy(to + offset + i * count, &sum, sizeof(V));
      rest[i] = P::select(wins, zero, rest[i]);  // what nobody has got yet
    }
  }
}

// Columns first to first + packs * count of the output (rows, columns).
template <int packs, int count, typename T>
MMSEG_EXT_INLINE void forward_block(const T* source, int64_t stride, const Rows rows, int64_t first,
                                    T* output) {
  for (int64_t m = 0; m < rows.count; ++m) {
    prefetch<packs * count, 1>(ahead(output, rows, m, first));
    typename Pack<T, count>::Type top[packs];
    row_maximum<packs, count>(source, stride, rows, m, top);
    std::memcpy(output + m * rows.columns + first, top, sizeof(top));
  }
}

template <int packs, int count, typename T>
MMSEG_EXT_INLINE void backward_block(const T* source, const T* output, const T* gradient,
                                     const Rows rows, int64_t first, T* to) {
  for (int64_t m = 0; m < rows.count; ++m) {
    prefetch<packs * count, 0>(ahead(output, rows, m, first));
    prefetch<packs * count, 0>(ahead(gradient, rows, m, first));
    typename Pack<T, count>::Type top[packs], rest[packs];
    std::memcpy(top, output + m * rows.columns + first, sizeof(top));
    std::memcpy(rest, gradient + m * rows.columns + first, sizeof(rest));
    give_to_winners<packs, count>(source, rows, m, top, rest, to);
  }
}

// 4 x 4 numbers at once. Compilers see the shuffles in this.
template <typename T>
MMSEG_EXT_INLINE void transpose_4x4(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  using V = typename Pack<T, 4>::Type;
  const V a = load<V>(from), b = load<V>(from + from_stride);
  const V c = load<V>(from + 2 * from_stride), d = load<V>(from + 3 * from_stride);
  const V ab01 = {a[0], b[0], a[1], b[1]}, ab23 = {a[2], b[2], a[3], b[3]};
  const V cd01 = {c[0], d[0], c[1], d[1]}, cd23 = {c[2], d[2], c[3], d[3]};
  const V columns[] = {{ab01[0], ab01[1], cd01[0], cd01[1]}, {ab01[2], ab01[3], cd01[2], cd01[3]},
                       {ab23[0], ab23[1], cd23[0], cd23[1]}, {ab23[2], ab23[3], cd23[2], cd23[3]}};
  for (int i = 0; i < 4; ++i) std::memcpy(to + i * to_stride, &columns[i], sizeof(V));
}

// (rows, columns) -> (columns, rows); the rows of each are a stride apart. The last 4 of a side
// that 4 does not divide overlap with those before.
template <typename T>
void transpose(const T* from, int64_t from_stride, int64_t rows, int64_t columns, T* to,
               int64_t to_stride) {
  if (rows < 4 || columns < 4) {
    for (int64_t x = 0; x < columns; ++x)
      for (int64_t y = 0; y < rows; ++y) to[x * to_stride + y] = from[y * from_stride + x];
    return;
  }
  for (int64_t i = 0; i < columns; i += 4) {
    for (int64_t j = 0; j < rows; j += 4) {
      const int64_t x = std::min(i, columns - 4), y = std::min(j, rows - 4);
      transpose_4x4(from + y * from_stride + x, from_stride, to + x * to_stride + y, to_stride);
    }
  }
}

// As forward_block, with an output (regions, columns, bins), where the block's part of a region is
// in one piece. It is made as a tile (bins, packs * count), which stays in the first cache, while
// the part of the next region is asked for.
template <int packs, int count, typename T>
MMSEG_EXT_INLINE void forward_bins_block(const T* source, const Rows rows, int64_t bins,
                                         int64_t first, T* tile, T* output) {
  constexpr int64_t width = packs * count;
  const int64_t region = rows.columns * bins;  // size of its output
  T* part = output + first * bins;
  for (int64_t m = 0; m < rows.count; m += bins, part += region) {
    const T* next = m + bins < rows.count ? part + region : part;
    for (int64_t bin = 0; bin < bins; ++bin) {
      prefetch<width, 1>(next + bin * width);
      typename Pack<T, count>::Type top[packs];
      row_maximum<packs, count>(source, width, rows, m + bin, top);
      std::memcpy(tile + bin * width, top, sizeof(top));
    }
    transpose(tile, width, bins, width, part, bins);
  }
}

// The maxima are found again, in less time than it takes to read and transpose the output.
template <int packs, int count, typename T>
MMSEG_EXT_INLINE void backward_bins_block(const T* source, const T* gradient, const Rows rows,
                                          int64_t bins, int64_t first, T* tile, T* to) {
  constexpr int64_t width = packs * count;
  const int64_t region = rows.columns * bins;
  const T* part = gradient + first * bins;
  for (int64_t m = 0; m < rows.count; m += bins, part += region) {
    transpose(part, bins, width, bins, tile, width);
    const T* next = m + bins < rows.count ? part + region : part;
    for (int64_t bin = 0; bin < bins; ++bin) {
      prefetch<width, 0>(next + bin * width);
      typename Pack<T, count>::Type top[packs], rest[packs];
      row_maximum<packs, count>(source, width, rows, m + bin, top);
      std::memcpy(rest, tile + bin * width, sizeof(rest));
      give_to_winners<packs, count>(source, rows, m + bin, top, rest, to);
    }
  }
}

// Columns first to first + width of maps, as rows of a block, and back.
template <typename T>
void maps_to_block(const T* from, const Maps maps, int64_t first, int64_t width, T* block) {
  for (int64_t n = 0; n < maps.count; ++n)
    transpose(from + (n * maps.columns + first) * maps.cells, maps.cells, width, maps.cells,
              block + n * maps.cells * width, width);
}

template <typename T>
void block_to_maps(const T* block, const Maps maps, int64_t first, int64_t width, T* to) {
  for (int64_t n = 0; n < maps.count; ++n)
    transpose(block + n * maps.cells * width, width, maps.cells, width,
              to + (n * maps.columns + first) * maps.cells, maps.cells);
}

// Columns first to first + width: 64, 16 or 1 of them.
template <typename T>
void forward(const T* source, int64_t stride, const Rows rows, int64_t first, int64_t width,
             T* output) {
  if (width == 64) return forward_block<4, 16>(source, stride, rows, first, output);
  if (width == 16) return forward_block<1, 16>(source, stride, rows, first, output);
  forward_block<1, 1>(source, stride, rows, first, output);
}

template <typename T>
void backward(const T* source, const T* output, const T* gradient, const Rows rows, int64_t first,
              int64_t width, T* to) {
  if (width == 64) return backward_block<4, 16>(source, output, gradient, rows, first, to);
  if (width == 16) return backward_block<1, 16>(source, output, gradient, rows, first, to);
  backward_block<1, 1>(source, output, gradient, rows, first, to);
}

template <typename T>
void forward_bins(const T* source, const Rows rows, int64_t bins, int64_t first, int64_t width,
                  T* tile, T* output) {
  if (width == 64) return forward_bins_block<4, 16>(source, rows, bins, first, tile, output);
  if (width == 16) return forward_bins_block<1, 16>(source, rows, bins, first, tile, output);
  forward_bins_block<1, 1>(source, rows, bins, first, tile, output);
}

template <typename T>
void backward_bins(const T* source, const T* gradient, const Rows rows, int64_t bins, int64_t first,
                   int64_t width, T* tile, T* to) {
  if (width == 64) return backward_bins_block<4, 16>(source, gradient, rows, bins, first, tile, to);
  if (width == 16) return backward_bins_block<1, 16>(source, gradient, rows, bins, first, tile, to);
  backward_bins_block<1, 1>(source, gradient, rows, bins, first, tile, to);
}
