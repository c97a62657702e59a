// Blocks of rows times one panel of the packed weight: the micro-kernel and the loops around it.
// Include cpu/int8_dot.inl and cpu/int8_output.inl before.

// What is added to the sums of a block: row i of it is base + i * stride, or, with zero, -zero[i] * base.
struct Int8Start {
  const int32_t* base;
  int64_t stride;
  const int32_t* zero;
};

// Cache lines that are needed soon, fetched while products are made: for each chunk of 16 quads
// `weight_lines` of what follows in the weight, and the lines of two of the out_rows rows of the output.
// 75 -> 94 % of the VNNI peak at 32 x 4096 x 4096 (a Xeon of family 6, model 207, 1 thread); fetching the
// rows of a that are packed next as well changed nothing.
struct Int8Fetch {
  const char* weight;
  int64_t weight_lines;
  const char* out;
  int64_t out_step, out_rows;
};

GK_INLINE const char* fetch_lines(const char* line, int64_t count) {
  for (; count > 0; --count, line += 64) __builtin_prefetch(line, 0, 2);
  return line;
}

GK_INLINE void fetch_step(Int8Fetch& fetch) {
  fetch.weight = fetch_lines(fetch.weight, fetch.weight_lines);
  for (int i = 0; i < 2 && fetch.out_rows > 0; ++i, --fetch.out_rows, fetch.out += fetch.out_step) {
    fetch_lines(fetch.out, 2);
  }
}

// One quad of each row.
template <bool kVnni, int kRows>
GK_INLINE void int8_micro_step(const typename Dot<kVnni>::Element* a, const int8_t* b,
                               typename Dot<kVnni>::Sum (&sum)[kRows][Dot<kVnni>::kVecs]) {
  using D = Dot<kVnni>;
  typename D::B b_row[D::kVecs];
#pragma GCC unroll 4
  for (int j = 0; j < D::kVecs; ++j) b_row[j] = D::load_b(b, j);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    const typename D::A a_quad = D::load_a(a + i * 64);
#pragma GCC unroll 4
    for (int j = 0; j < D::kVecs; ++j) D::step(sum[i][j], a_quad, b_row[j]);
  }
}

// kDotQuads quads of each row.
template <bool kVnni, int kRows>
GK_INLINE void int8_micro_quads(const typename Dot<kVnni>::Element* a, const int8_t* b,
                                typename Dot<kVnni>::Sum (&sum)[kRows][Dot<kVnni>::kVecs]) {
  if constexpr (kDotQuads<kVnni> == 1) {
    int8_micro_step<kVnni, kRows>(a, b, sum);
  } else {
    using D = Dot<kVnni>;
    typename D::A quads[kRows];
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) quads[i] = D::load_quads(a + i * 64);
#pragma GCC unroll 4
    for (int q = 0; q < kDotQuads<kVnni>; ++q) {
      typename D::B b_row[D::kVecs];
#pragma GCC unroll 4
      for (int j = 0; j < D::kVecs; ++j) b_row[j] = D::load_b(b + q * kInt8Panel * 4, j);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < D::kVecs; ++j) D::step(sum[i][j], quads[i], b_row[j], q);
    }
  }
}

// kColumns columns of kRows rows. a: [quads / 16, rounded up][kRows][64]; b: [quads][kInt8Panel][4];
// out: [kRows], out_stride apart.
template <bool kVnni, int kRows>
void int8_micro_block(const typename Dot<kVnni>::Element* a, const int8_t* b, const Int8Start& start,
                      int32_t* out, int64_t out_stride, int64_t quads, Int8Fetch fetch) {
  using D = Dot<kVnni>;
  typename D::Sum sum[kRows][D::kVecs];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < D::kVecs; ++j) sum[i][j] = D::zero();

  for (; quads >= 16; quads -= 16) {
#pragma GCC unroll 4
    for (int q = 0; q < 16; q += kDotQuads<kVnni>) {
      int8_micro_quads<kVnni, kRows>(a + q * 4, b + q * kInt8Panel * 4, sum);
    }
    a += kRows * 64;
    b += 16 * kInt8Panel * 4;
    fetch_step(fetch);
  }
  for (int64_t q = 0; q < quads; ++q) int8_micro_step<kVnni, kRows>(a + q * 4, b + q * kInt8Panel * 4, sum);

  constexpr int kLanes = Vec<float>::kWidth;
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < D::kColumns / kLanes; ++j) {
      const Ints base = Ints::load(start.base + i * start.stride + j * kLanes);
      const Ints add = start.zero ? Ints::broadcast(kLowered<kVnni> - start.zero[i]) * base : base;
      (column_sums<kVnni>(sum[i], j) + add).store(out + i * out_stride + j * kLanes);
    }
}

template <bool kVnni, int kRows>
void int8_micro_rows(const typename Dot<kVnni>::Element* a, const int8_t* b, const Int8Start& start,
                     int32_t* out, int64_t out_stride, int64_t quads, const Int8Fetch& fetch) {
  for (int j = 0; j < kInt8Panel; j += Dot<kVnni>::kColumns) {
    int8_micro_block<kVnni, kRows>(a, b + 4 * j, {start.base + j, start.stride, start.zero}, out + j,
                                   out_stride, quads, j == 0 ? fetch : Int8Fetch{});
  }
}

template <bool kVnni>
using Int8Micro = void (*)(const typename Dot<kVnni>::Element* a, const int8_t* b, const Int8Start& start,
                           int32_t* out, int64_t out_stride, int64_t quads, const Int8Fetch& fetch);

// The kernel for `rows` rows, 1 <= rows <= Dot<kVnni>::kRows.
template <bool kVnni, int kRows = Dot<kVnni>::kRows>
Int8Micro<kVnni> int8_micro(int64_t rows) {
  if constexpr (kRows == 1) {
    return &int8_micro_rows<kVnni, 1>;
  } else {
    return rows == kRows ? &int8_micro_rows<kVnni, kRows> : int8_micro<kVnni, kRows - 1>(rows);
  }
}

// What a call of the micro-kernel fetches: block number `index` of a run of `count`, `quads` of the panel
// from `b` on. The blocks of a run share what follows in the weight.
inline Int8Fetch int8_fetch(const Int8Product& job, const int8_t* b, int64_t quads, int64_t index,
                            int64_t count) {
  const int64_t chunks = quads / 16, share = (32 + count - 1) / count;
  const int8_t* next = b + quads * kInt8Panel * 4;
  const bool is_last = next + kInt8Panel * 4 >= job.packed + job.shape.packed_bytes();
  const char* weight = reinterpret_cast<const char*>(next) + index * share * chunks * 64;
  return {weight, is_last ? 0 : share, nullptr, 0, 0};
}

// Stage 2 of a run of blocks [begin, end) at the depths [depth, depth + length): sums = start + products. a:
// of block `begin`. Calls done(first row, rows, sums) as soon as the sums of a block are complete: stores to
// the output then leave the store buffer while the next block is multiplied.
template <bool kVnni, typename Done>
void int8_multiply(const Int8Product& job, int64_t panel, int64_t begin, int64_t end, int64_t depth,
                   int64_t length, const typename Dot<kVnni>::Element* a, Int8Start start, int32_t* sums,
                   const Done& done) {
  const int64_t past = depth + length, element = job.output == Int8Output::kUint8 ? 1 : 4;
  const int64_t step = int8_slice(length);
  const bool to_out = job.output == Int8Output::kSums && (panel + 1) * kInt8Panel <= job.shape.n;
  for (int64_t slice = depth; slice < past || slice == depth; slice += step) {
    const int8_t* b = job.panel(panel) + slice * kInt8Panel;
    const int64_t quads = ((past - slice < step ? past - slice : step) + 3) / 4;
    int32_t* out = sums;
    for (int64_t block = begin; block < end; ++block) {
      const int64_t rows = job.rows(block), first = job.first_row(block);
      Int8Start from{out, kInt8Panel, nullptr};
      if (slice == depth) {
        from = {start.base, 0, start.zero ? start.zero + first - job.first_row(begin) : nullptr};
      }
      Int8Fetch fetch = int8_fetch(job, b, quads, block - begin, end - begin);
      const bool last = slice + step >= past;
      if (last) {
        fetch.out_rows = rows;
        fetch.out_step = job.out_stride * element;
        fetch.out = static_cast<const char*>(job.out) + job.out_at(first, panel) * element;
      }
      const auto* rows_of_a = a + (block - begin) * job.block_stride() + slice * rows;
      if (last && to_out) {  // sums that are the result go there from the registers
        int32_t* const result = static_cast<int32_t*>(job.out) + job.out_at(first, panel);
        int8_micro<kVnni>(rows)(rows_of_a, b, from, result, job.out_stride, quads, fetch);
      } else {
        int8_micro<kVnni>(rows)(rows_of_a, b, from, out, kInt8Panel, quads, fetch);
        if (last) done(first, rows, out);
      }
      out += rows * kInt8Panel;
    }
  }
}

// Stages 2 and 3 of a block whose sums may not fit in int32: added up in int64 from slices that do.
template <bool kVnni>
void int8_deep_block(const Int8Product& job, int64_t panel, int64_t block,
                     const typename Dot<kVnni>::Element* a, const Int8Rows& rows, int32_t* sums) {
  const int64_t first = job.first_row(block), size = job.rows(block) * kInt8Panel;
  const int32_t nothing[kInt8Panel] = {}, *of_columns = job.column_sums(panel);
  int64_t total[Dot<kVnni>::kRows * kInt8Panel] = {};
  for (int64_t depth = 0; depth < job.shape.k; depth += kInt8Slice) {
    const int64_t length = job.shape.k - depth < kInt8Slice ? job.shape.k - depth : kInt8Slice;
    int8_multiply<kVnni>(job, panel, block, block + 1, depth, length, a, {nothing, 0, nullptr}, sums,
                         [](int64_t, int64_t, int32_t*) {});
    for (int64_t i = 0; i < size; ++i) total[i] += sums[i];
  }
  float* values = reinterpret_cast<float*>(sums);
  for (int64_t i = 0; i < size; ++i) {
    values[i] = float(total[i] - int64_t{rows.zero[first + i / kInt8Panel] - kLowered<kVnni>} *
                                     of_columns[i % kInt8Panel]);
  }
  int8_output<true>(job, Int8Columns(job, panel), panel, first, job.rows(block), sums, rows);
}

// Stages 2 and 3 of the blocks [begin, end) and one panel, by runs of blocks. a: of block `begin`; sums:
// scratch, sums_size() elements.
template <bool kVnni>
void int8_panel(const Int8Product& job, int64_t panel, int64_t begin, int64_t end, const void* a,
                const Int8Rows& rows, int32_t* sums) {
  const auto* elements = static_cast<const typename Dot<kVnni>::Element*>(a);
  if (job.shape.k > kInt8Slice) {
    for (int64_t block = begin; block < end; ++block) {
      int8_deep_block<kVnni>(job, panel, block, elements + (block - begin) * job.block_stride(), rows, sums);
    }
    return;
  }
  const Int8Columns columns(job, panel);
  int32_t moved[kInt8Panel];  // what the zero point adds to each column, where it is one for all rows
  for (int64_t c = 0; c < kInt8Panel; ++c) {
    moved[c] = (kLowered<kVnni> - rows.zero[job.first_row(begin)]) * job.column_sums(panel)[c];
  }
  for (int64_t first = begin; first < end; first += kInt8Run) {
    const int64_t last = first + kInt8Run < end ? first + kInt8Run : end, row = job.first_row(first);
    const Int8Start start =
        job.one_zero ? Int8Start{moved, 0, nullptr} : Int8Start{job.column_sums(panel), 0, rows.zero + row};
    int8_multiply<kVnni>(job, panel, first, last, 0, job.shape.k,
                         elements + (first - begin) * job.block_stride(), start, sums,
                         [&](int64_t row, int64_t count, const int32_t* of_block) {
                           int8_output<false>(job, columns, panel, row, count, of_block, rows);
                         });
  }
}
