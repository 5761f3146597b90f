// The kernels of semantic_edge_distance.cpp, which compiles this file for each instruction set
// (each_isa.h).

// Sums that a convolution keeps in registers, of which AVX-512 has 32, the others 16.
constexpr int kSums = MMSEG_EXT_VECTOR_BYTES == 64 ? 24 : 12;
static_assert(kSums <= kSlack, "the last block of a row would not fit");

template <typename T, int lanes>
struct Pack {
  typedef T Type __attribute__((vector_size(lanes * sizeof(T))));
};
template <typename T, int lanes = kLanes>
using Vector = typename Pack<T, lanes>::Type;

template <typename T, int lanes = kLanes>
MMSEG_EXT_INLINE Vector<T, lanes> load(const T* from) {
  Vector<T, lanes> value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

template <typename T, int lanes = kLanes>
MMSEG_EXT_INLINE void store(const Vector<T, lanes>& value, T* to) {
  std::memcpy(to, &value, sizeof(value));
}

// Channels that fit a register, of which a group may need several.
template <typename T>
constexpr int kInRegister = std::min<int>(kLanes, MMSEG_EXT_VECTOR_BYTES / sizeof(T));

template <typename T>
MMSEG_EXT_INLINE T total(const Vector<T>& v) {
  return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7]));
}

// Output groups `group` to `group + groups` of neighbouring pixels; `rows` begin a pixel to the
// left of the first. Each sum starts with the bias and goes through the nine positions in order, as
// that of look_up does: one map computed in two ways has a distance of exactly 0 from itself, not
// of noise whose sign would be a gradient.
template <int groups, int pixels, typename T>
MMSEG_EXT_INLINE void convolve_block(const T* const rows[3], int64_t plane, const Filter<T>& filter,
                                     int64_t group, T* to) {
  constexpr int lanes = kInRegister<T>, parts = groups * (kLanes / lanes);
  Vector<T, lanes> sums[pixels][parts];
#pragma GCC unroll 24
  for (int p = 0; p < pixels; ++p)
#pragma GCC unroll 16
    for (int i = 0; i < parts; ++i)
      sums[p][i] = load<T, lanes>(filter.bias + group * kLanes + i * lanes);
  for (int position = 0; position < 9; ++position) {
    const T* from = rows[position / 3] + position % 3 * kLanes;
    const T* weights = filter.weights + position * filter.tap + group * kLanes;
    for (int64_t first = 0; first < filter.in; first += kLanes, from += plane) {
      const int64_t channels = std::min(filter.in - first, kLanes);
      for (int64_t c = 0; c < channels; ++c, weights += filter.groups * kLanes) {
        Vector<T, lanes> weight[parts];
#pragma GCC unroll 16
        for (int i = 0; i < parts; ++i) weight[i] = load<T, lanes>(weights + i * lanes);
#pragma GCC unroll 24
        for (int p = 0; p < pixels; ++p)
#pragma GCC unroll 16
          for (int i = 0; i < parts; ++i) sums[p][i] += from[p * kLanes + c] * weight[i];
      }
    }
  }
#pragma GCC unroll 24
  for (int p = 0; p < pixels; ++p)
#pragma GCC unroll 16
    for (int i = 0; i < parts; ++i) {
      const int channel = i * lanes;
      store<T, lanes>(sums[p][i],
                      to + (group + channel / kLanes) * plane + p * kLanes + channel % kLanes);
    }
}

// Pixels begin to end (or up to kSlack more) of row y. From the output group `group` on as many at
// once as there are, but four at most: a weight that was loaded is used for many pixels, a pixel
// for many weights.
template <int groups = 4, typename T>
void convolve(const Ring<T>& maps, int64_t y, int64_t plane, const Filter<T>& filter, int64_t begin,
              int64_t end, T* to, int64_t group = 0) {
  constexpr int parts = groups * (kLanes / kInRegister<T>);
  constexpr int large = std::max(kSums / parts, 1), small = (large + 2) / 3;
  for (; group + groups <= filter.groups; group += groups) {
    for (int64_t x = begin; x < end;) {
      const int64_t at = (x - 1) * kLanes;
      const T* const rows[3] = {maps[y - 1] + at, maps[y] + at, maps[y + 1] + at};
      if (x + large <= end) {
        convolve_block<groups, large>(rows, plane, filter, group, to + x * kLanes);
        x += large;
      } else {
        convolve_block<groups, small>(rows, plane, filter, group, to + x * kLanes);
        x += small;
      }
    }
  }
  if constexpr (groups > 1) convolve<groups - 1>(maps, y, plane, filter, begin, end, to, group);
}

// The same of a one-hot map: at each position it selects a row of the weights.
template <typename T>
void look_up(const Ring<int32_t>& codes, int64_t y, int64_t plane, const Filter<T>& filter,
             int64_t begin, int64_t end, T* to) {
  const int32_t* const rows[3] = {codes[y - 1], codes[y], codes[y + 1]};
  for (int64_t g = 0; g < filter.groups; ++g) {
    for (int64_t x = begin; x < end; ++x) {
      Vector<T> sum = load(filter.bias + g * kLanes);
      for (int position = 0; position < 9; ++position) {
        const int64_t code = rows[position / 3][x - 1 + position % 3];
        sum += load(filter.weights + position * filter.tap + (code * filter.groups + g) * kLanes);
      }
      store(sum, to + g * plane + x * kLanes);
    }
  }
}

// planes[c][x] become a softmax over c.
template <typename T>
void softmax(T* planes, int64_t channels, int64_t columns, int64_t begin, int64_t end,
             T* __restrict top, T* __restrict sum) {
  for (int64_t x = begin; x < end; ++x) top[x] = planes[x], sum[x] = 0;
  for (int64_t c = 1; c < channels; ++c) {
    const T* __restrict row = planes + c * columns;
    for (int64_t x = begin; x < end; ++x) top[x] = row[x] > top[x] ? row[x] : top[x];
  }
  for (int64_t c = 0; c < channels; ++c) {
    T* __restrict row = planes + c * columns;
    for (int64_t x = begin; x < end; ++x) sum[x] += row[x] = exp_nonpositive(row[x] - top[x]);
  }
  for (int64_t x = begin; x < end; ++x) sum[x] = 1 / sum[x];
  for (int64_t c = 0; c < channels; ++c) {
    T* __restrict row = planes + c * columns;
    for (int64_t x = begin; x < end; ++x) row[x] *= sum[x];
  }
}

// From the layout of a ring's row to any other, and back.
template <typename T>
void from_groups(const T* row, int64_t plane, int64_t channels, int64_t begin, int64_t end, T* to,
                 int64_t by_channel, int64_t by_column) {
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t x = begin; x < end; ++x)
      to[c * by_channel + x * by_column] = row[c / kLanes * plane + x * kLanes + c % kLanes];
}

template <typename T>
void to_groups(const T* from, int64_t by_channel, int64_t channels, int64_t begin, int64_t end,
               T* row, int64_t plane) {
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t x = begin; x < end; ++x)
      row[c / kLanes * plane + x * kLanes + c % kLanes] = from[c * by_channel + x];
}

// The gradient before a softmax, in place; `output` is what the softmax gave.
template <typename T>
void softmax_backward(T* gradient, const T* output, int64_t groups, int64_t plane, int64_t begin,
                      int64_t end) {
  for (int64_t x = begin * kLanes; x < end * kLanes; x += kLanes) {
    Vector<T> dot = {};
    for (int64_t g = 0; g < groups; ++g)
      dot += load(gradient + g * plane + x) * load(output + g * plane + x);
    const T mean = total<T>(dot);
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t at = g * plane + x;
      store(load(output + at) * (load(gradient + at) - mean), gradient + at);
    }
  }
}

// A tile from top to bottom. A `row` has columns from tile.left - margin on, and `halo` of them on
// either side of the tile are needed.
template <typename T>
struct Sweep {
  const Problem<T>& problem;
  const Tile& tile;
  Workspace<T>& work;
  const int64_t margin, plane, first_inside, end_inside;  // `inside`: the image

  Sweep(const Problem<T>& problem, const Tile& tile, Workspace<T>& work)
      : problem(problem),
        tile(tile),
        work(work),
        margin(problem.reach + 1),
        plane(work.columns * kLanes),
        first_inside(std::max<int64_t>(margin - tile.left, 0)),
        end_inside(std::min(margin - tile.left + problem.width, work.columns)) {}

  bool inside(int64_t y) const { return y >= 0 && y < problem.height; }
  int64_t begin(int64_t halo) const { return margin - halo; }
  int64_t end(int64_t halo) const { return margin + tile.right - tile.left + halo; }
  // of the image, whose first pixel has the number 0
  int64_t pixel(int64_t y) const {
    return (tile.image * problem.height + y) * problem.width + tile.left - margin;
  }

  void clear_outside(T* row, int64_t groups) const {
    for (int64_t g = 0; g < groups; ++g) {
      std::fill(row + g * plane, row + g * plane + first_inside * kLanes, T(0));
      std::fill(row + g * plane + end_inside * kLanes, row + (g + 1) * plane, T(0));
    }
  }

  // Row y of the labels and of the probabilities, which are 0 where there is no label.
  void read(int64_t y) {
    int32_t* codes = work.codes[y];
    std::fill_n(codes, work.columns, problem.classes + 1);
    T* row = work.ours[0][y];
    if (!inside(y)) {
      std::fill_n(row, work.ours[0].size, T(0));
      return;
    }
    const int64_t* labels = problem.labels + pixel(y);
    for (int64_t x = first_inside; x < end_inside; ++x)
      codes[x] = labels[x] == problem.ignore_index ? problem.classes : labels[x];
    const int64_t from = std::max(first_inside, begin(problem.reach));
    const int64_t to = std::min(end_inside, end(problem.reach));
    const Strides& at = problem.logits_at;
    const T* logits =
        problem.logits + tile.image * at.image + y * at.row + (tile.left - margin) * at.column;
    T* planes = work.planes[0];
    for (int64_t c = 0; c < problem.classes; ++c)
      for (int64_t x = from; x < to; ++x)
        planes[c * work.columns + x] = logits[c * at.channel + x * at.column];
    softmax(planes, problem.classes, work.columns, from, to, work.weight[0], work.distance[0]);
    for (int64_t x = from; x < to; ++x)
      if (codes[x] == problem.classes)
        for (int64_t c = 0; c < problem.classes; ++c) planes[c * work.columns + x] = 0;
    to_groups(planes, work.columns, problem.classes, from, to, row, plane);
    clear_outside(row, groups_of(problem.classes));
  }

  // Whether all labels in the field of view of layer l are the same and in the image.
  void find_same(int64_t l, int64_t y, int64_t from, int64_t to) {
    uint8_t* same = work.same[l][y];
    std::fill_n(same, work.columns, 1);
    for (int64_t v = y - 1; v <= y + 1; ++v) {
      for (int64_t u = -1; u <= 1; ++u) {
        if (l == 1) {
          const int32_t *codes = work.codes[y], *others = work.codes[v] + u;
          for (int64_t x = from; x < to; ++x) same[x] &= codes[x] == others[x];
        } else {
          const uint8_t* before = work.same[l - 1][v] + u;
          for (int64_t x = from; x < to; ++x) same[x] &= before[x];
        }
      }
    }
  }

  // The features of the labels: convolved where they are no constant that is known.
  void infer_truth(int64_t l, int64_t y, int64_t from, int64_t to, T* row) {
    const Filter<T>& filter = problem.layers[l - 1].forward;
    const int32_t* codes = work.codes[y];
    const uint8_t* same = work.same[l][y];
    uint8_t* known = work.known[l][0];
    T* constants = work.constants[l][0];
    const auto copy = [&](const T* from, int64_t from_plane, T* to, int64_t to_plane) {
      for (int64_t g = 0; g < filter.groups; ++g)
        store(load(from + g * from_plane), to + g * to_plane);
    };
    const auto constant_of = [&](int64_t x) {
      return constants + codes[x] * filter.groups * kLanes;
    };
    for (int64_t x = from; x < to;) {
      int64_t stop = x;
      while (stop < to && !(same[stop] && known[codes[stop]])) ++stop;
      convolve(work.theirs[l - 1], y, plane, filter, x, stop, row);
      for (; x < stop; ++x) {
        if (!same[x]) continue;
        copy(row + x * kLanes, plane, constant_of(x), kLanes);
        known[codes[x]] = true;
      }
      for (; x < to && same[x] && known[codes[x]]; ++x)
        copy(constant_of(x), kLanes, row + x * kLanes, plane);
    }
  }

  // ReLU or softmax, in place; beyond the image there is nothing.
  void activate(const Layer<T>& layer, int64_t from, int64_t to, T* row) {
    const int64_t groups = layer.forward.groups;
    if (layer.is_softmax) {
      T* planes = work.planes[0];
      from_groups(row, plane, layer.channels, from, to, planes, work.columns, 1);
      softmax(planes, layer.channels, work.columns, from, to, work.weight[0], work.distance[0]);
      to_groups(planes, work.columns, layer.channels, from, to, row, plane);
    } else {
      for (int64_t g = 0; g < groups; ++g)
        for (int64_t i = g * plane + from * kLanes; i < g * plane + to * kLanes; ++i)
          row[i] = row[i] < 0 ? T(0) : row[i];  // NaN stays
    }
    clear_outside(row, groups);
  }

  // Adds up the distance of a row, and keeps its gradient.
  void compare(int64_t l, int64_t y) {
    const Layer<T>& layer = problem.layers[l - 1];
    const int64_t from = begin(problem.reach - l), to = end(problem.reach - l);
    const T *ours = work.ours[l][y], *theirs = work.theirs[l][y];
    T *own = work.own[l][y], *weight = work.weight[0], *distance = work.distance[0];
    const int32_t* codes = work.codes[y];
    const int64_t first = pixel(y);
    for (int64_t x = from; x < to; ++x) {
      weight[x] = 0;
      if (codes[x] < problem.classes)
        weight[x] = problem.pixel_weight ? problem.pixel_weight[first + x] : 1;
    }
    const Vector<T> zero = {};
    for (int64_t x = from; x < to; ++x) {
      const Vector<T> plus = zero + weight[x] * layer.factor;
      Vector<T> sum = {};
      for (int64_t g = 0; g < layer.forward.groups; ++g) {
        const int64_t at = g * plane + x * kLanes;
        const Vector<T> difference = load(ours + at) - load(theirs + at);
        sum += difference < zero ? -difference : difference;
        store<T>(difference > zero ? plus : difference < zero ? -plus : zero, own + at);
      }
      distance[x] = total<T>(sum) * layer.factor;
    }
    if (y < tile.top || y >= tile.bottom) return;
    for (int64_t x = begin(0); x < end(0); ++x) {
      if (codes[x] >= problem.classes) continue;
      sum += static_cast<double>(distance[x]) * weight[x];
      if (problem.map) problem.map[first + x] += distance[x];
    }
  }

  // Row y of layer l, of both maps.
  void infer(int64_t l, int64_t y) {
    T *ours = work.ours[l][y], *theirs = work.theirs[l][y];
    if (!inside(y)) {
      std::fill_n(ours, work.ours[l].size, T(0));
      std::fill_n(theirs, work.theirs[l].size, T(0));
      std::fill_n(work.own[l][y], work.own[l].size, T(0));
      std::fill_n(work.same[l][y], work.columns, 0);
      return;
    }
    const Layer<T>& layer = problem.layers[l - 1];
    const int64_t from = std::max(begin(problem.reach - l), first_inside);
    const int64_t to = std::min(end(problem.reach - l), end_inside);
    find_same(l, y, from, to);
    convolve(work.ours[l - 1], y, plane, layer.forward, from, to, ours);
    if (l == 1) {
      look_up(work.codes, y, plane, layer.forward, from, to, theirs);
    } else {
      infer_truth(l, y, from, to, theirs);
    }
    if (!problem.activated) compare(l, y);
    activate(layer, from, to, ours);
    activate(layer, from, to, theirs);
    if (problem.activated) compare(l, y);
  }

  // The gradient of row y before the activation of layer l.
  void backpropagate(int64_t l, int64_t y) {
    const Layer<T>& layer = problem.layers[l - 1];
    const int64_t groups = layer.forward.groups, from = begin(l), to = end(l);
    const bool last = l == static_cast<int64_t>(problem.layers.size());
    const T *own = work.own[l][y], *output = work.ours[l][y];
    T* change = work.change[l][y];
    if (layer.is_softmax) {  // always the last
      std::copy_n(own, work.own[l].size, change);
      if (problem.activated) softmax_backward(change, output, groups, plane, from, to);
      return;
    }
    if (!last) convolve(work.change[l + 1], y, plane, problem.layers[l].backward, from, to, change);
    const Vector<T> zero = {};
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t i = g * plane + from * kLanes; i < g * plane + to * kLanes; i += kLanes) {
        const auto active = load(output + i) > zero;
        const Vector<T> behind = last ? zero : load(change + i), here = load(own + i);
        store<T>(
            problem.activated ? (active ? behind + here : zero) : (active ? behind : zero) + here,
            change + i);
      }
    }
  }

  // Row y of the gradient of the logits.
  void write(int64_t y) {
    const Strides& at = problem.gradient_at;
    T* row = work.change[0][0];
    convolve(work.change[1], y, plane, problem.layers[0].backward, begin(0), end(0), row);
    softmax_backward(row, work.ours[0][y], groups_of(problem.classes), plane, begin(0), end(0));
    from_groups(
        row, plane, problem.classes, begin(0), end(0),
        problem.gradient + tile.image * at.image + y * at.row + (tile.left - margin) * at.column,
        at.channel, at.column);
  }

  // Gives the weighted sum of the distances of the tile's pixels.
  double run() {
    const int64_t last = problem.layers.size();
    for (int64_t y = tile.top - 2 * problem.reach; y < tile.bottom; ++y) {
      read(y + problem.reach);
      for (int64_t l = 1; l <= last; ++l) {
        const int64_t halo = problem.reach - l;
        if (y + halo >= tile.top - halo) infer(l, y + halo);
      }
      if (problem.gradient == nullptr) continue;
      for (int64_t l = last; l >= 1; --l)
        if (y + l >= tile.top - l) backpropagate(l, y + l);
      if (y >= tile.top) write(y);
    }
    return sum;
  }

  double sum = 0;
};

template <typename T>
double sweep(const Problem<T>& problem, const Tile& tile, Workspace<T>& work) {
  return Sweep<T>(problem, tile, work).run();
}
