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

// Asks for the block's part of a row that is some rows ahead: a processor does not foresee reads
// and writes that are so far apart.
template <int64_t width, int write, typename T>
MMSEG_EXT_INLINE void prefetch(const T* matrix, const Rows rows, int64_t row, int64_t first) {
  const T* part = matrix + std::min(row + 8, rows.count - 1) * rows.columns + first;
  for (int64_t i = 0; i < width; i += 64 / sizeof(T)) __builtin_prefetch(part + i, write, 2);
}

// The block's columns first to first + packs * count, of a source whose rows are `stride` apart.
template <int packs, int count, typename T>
MMSEG_EXT_INLINE void forward_block(const T* source, int64_t stride, const Rows rows, int64_t first,
                                    T* output) {
  using P = Pack<T, count>;
  using V = typename P::Type;
  for (int64_t m = 0; m < rows.count; ++m) {
    prefetch<packs * count, 1>(output, rows, m, first);
    const int64_t begin = rows.indptr[m], end = rows.indptr[m + 1];
    V top[packs] = {};  // 0 for a row without members
    if (begin < end) std::memcpy(top, source + rows.indices[begin] * stride, sizeof(top));
    for (int64_t k = begin + 1; k < end; ++k) {
      const T* from = source + rows.indices[k] * stride;
      for (int i = 0; i < packs; ++i) {
        const V value = load<V>(from + i * count);
        const V larger = P::select(value > top[i], value, top[i]);
        top[i] = P::select(value != value, value, larger);  // NaN is a maximum
      }
    }
    std::memcpy(output + m * rows.columns + first, top, sizeof(top));
  }
}

// `gradient` of the output is added to `to`, that of the source, in blocks of this width both.
template <int packs, int count, typename T>
MMSEG_EXT_INLINE void backward_block(const T* source, const T* output, const T* gradient,
                                     const Rows rows, int64_t first, T* to) {
  using P = Pack<T, count>;
  using V = typename P::Type;
  constexpr int64_t width = packs * count;
  const V zero = {};
  for (int64_t m = 0; m < rows.count; ++m) {
    prefetch<width, 0>(output, rows, m, first);
    prefetch<width, 0>(gradient, rows, m, first);
    V top[packs], rest[packs];  // the maximum; what no source row has got yet
    std::memcpy(top, output + m * rows.columns + first, sizeof(top));
    std::memcpy(rest, gradient + m * rows.columns + first, sizeof(rest));
    for (int64_t k = rows.indptr[m]; k < rows.indptr[m + 1]; ++k) {
      const int64_t offset = rows.indices[k] * width;
      for (int i = 0; i < packs; ++i) {
        const V value = load<V>(source + offset + i * count);
        const auto wins = (value == top[i]) | ((value != value) & (top[i] != top[i]));
        const V sum = load<V>(to + offset + i * count) + P::select(wins, rest[i], zero);
        std::memcpy(to + offset + i * count, &sum, sizeof(V));
        rest[i] = P::select(wins, zero, rest[i]);
      }
    }
  }
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
